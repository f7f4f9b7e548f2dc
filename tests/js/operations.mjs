// The operations both websocket scripts send.
import { randomBytes } from "node:crypto";

const input = { username: `js${randomBytes(5).toString("hex")}`, password: randomBytes(12).toString("base64url") };

export const username = input.username;

export const registration = {
  query: `mutation Register($input: UserRegisterInput!) {
    userRegister(input: $input) {
      user { username channel { id isLive } }
      errors { __typename ... on UserError { message } }
    }
  }`,
  variables: { input },
};

export const signIn = {
  query: `mutation SignIn($input: SessionCreateInput!) {
    sessionCreate(input: $input) { token errors { __typename ... on UserError { message } } }
  }`,
  variables: { input },
};

export const channelChanged = (channelId) => ({
  query: `subscription Watch($channelId: ID!) {
    channelChanged(channelId: $channelId) { channel { id isLive } }
  }`,
  variables: { channelId },
});

// A user of this run's own, so that no other test can change the channel that is watched.
export async function register(server) {
  const answer = await fetch(`${server}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(registration),
  });
  const body = await answer.text();
  if (!answer.ok) throw new Error(`registration answered ${answer.status}: ${body}`);
  const { user, errors } = JSON.parse(body).data.userRegister;
  if (errors.length > 0) throw new Error(`registration was refused: ${body}`);
  return user.channel.id;
}
