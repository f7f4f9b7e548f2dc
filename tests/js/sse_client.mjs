// What the graphql-sse client does with a server. Usage: node sse_client.mjs http://127.0.0.1:8000
import assert from "node:assert/strict";
import { channelChanged, register, signIn, username } from "./operations.mjs";
import { createStreamClient } from "./packages.mjs";
import { report, within } from "./report.mjs";

const server = process.argv[2];
const channelId = await register(server);

// Gives `use` a client; `messages` are all events it was sent.
async function connected(options, use) {
  const messages = [];
  const on = { message: (message) => messages.push(message) };
  const client = createStreamClient({ url: `${server}/graphql`, retryAttempts: 0, on, ...options });
  try {
    return await within(use(client, messages), "result");
  } finally {
    client.dispose();
  }
}

function collect(client, operation) {
  return new Promise((resolve, reject) => {
    const results = [];
    client.subscribe(operation, {
      next: (result) => results.push(result),
      error: reject,
      complete: () => resolve(results),
    });
  });
}

// Errors before execution are the stream's only result.
async function refused(operation) {
  await connected({}, async (client, messages) => {
    const [{ data, errors }] = await collect(client, operation);
    assert.equal(data, undefined);
    assert.equal(typeof errors[0].message, "string");
    assert.equal(errors[0].extensions.code, "BAD_INPUT");
    assert.deepEqual(messages.map(({ event }) => event), ["next", "complete"]);
  });
}

await report([
  ["a query", () =>
    connected({}, async (client, messages) => {
      assert.deepEqual(await collect(client, { query: "{ __typename }" }), [{ data: { __typename: "Query" } }]);
      assert.deepEqual(messages.map(({ event }) => event), ["next", "complete"]);
    })],

  ["the operation that operationName chooses", () =>
    connected({}, async (client) => {
      const query = "query A { a: __typename } query B { b: __typename }";
      assert.deepEqual(await collect(client, { query, operationName: "B" }), [{ data: { b: "Query" } }]);
    })],

  ["a subscription gives the present state first", () =>
    connected({}, async (client) => {
      const { value } = await client.iterate(channelChanged(channelId)).next();
      assert.deepEqual(value, { data: { channelChanged: { channel: { id: channelId, isLive: false } } } });
    })],

  ["twenty subscriptions beside a query", () =>
    connected({}, async (client) => {
      const watches = Array.from({ length: 20 }, () => client.iterate(channelChanged(channelId)));
      const firsts = await Promise.all(watches.map((watch) => watch.next()));
      assert.deepEqual(firsts.map(({ value }) => value.data.channelChanged.channel.id), Array(20).fill(channelId));
      assert.deepEqual(await collect(client, { query: "{ __typename }" }), [{ data: { __typename: "Query" } }]);
      await Promise.all(watches.map((watch) => watch.return()));
    })],

  ["fifty subscriptions left one after the other", () =>
    connected({}, async (client) => {
      for (let turn = 0; turn < 50; turn += 1) {
        const watch = client.iterate(channelChanged(channelId));
        assert.equal((await watch.next()).done, false);
        assert.equal((await watch.return()).done, true);
      }
    })],

  ["a mutation, and headers that sign in", async () => {
    const token = await connected({}, async (client) => {
      const [{ data }] = await collect(client, signIn);
      assert.deepEqual(data.sessionCreate.errors, []);
      return data.sessionCreate.token;
    });
    await connected({ headers: { authorization: `Bearer ${token}` } }, async (client) => {
      const results = await collect(client, { query: "{ viewer { username } }" });
      assert.deepEqual(results, [{ data: { viewer: { username } } }]);
    });
  }],

  ["the session's end is the last result", async () => {
    const token = await connected({}, async (client) => (await collect(client, signIn))[0].data.sessionCreate.token);
    await connected({ headers: { authorization: `Bearer ${token}` } }, async (client) => {
      const results = await new Promise((resolve, reject) => {
        const received = [];
        client.subscribe(channelChanged(channelId), {
          next(result) {
            received.push(result);
            if (received.length === 1) collect(client, { query: "mutation { sessionDelete { user { id } } }" });
          },
          error: reject,
          complete: () => resolve(received),
        });
      });
      assert.equal(results.length, 2);
      assert.equal(results[1].errors[0].extensions.code, "UNAUTHENTICATED");
    });
  }],

  ["a bad token is answered with 401", () =>
    connected({ headers: { authorization: "Bearer wrong" } }, async (client) => {
      await assert.rejects(collect(client, { query: "{ __typename }" }), ({ response }) => response.status === 401);
    })],

  ["an unknown field is the result's error", () => refused({ query: "{ fieldThatIsNotThere }" })],
  ["a syntax error is the result's error", () => refused({ query: "{" })],
  ["a missing variable is the result's error", () =>
    refused({ query: "subscription ($id: ID!) { channelChanged(channelId: $id) { channel { id } } }", variables: {} })],
  ["a subscription to what does not exist is the result's error", () => refused(channelChanged("not an id"))],
]);
