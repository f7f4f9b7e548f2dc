// What the graphql-ws client does with a server. Usage: node ws_client.mjs http://127.0.0.1:8000
import assert from "node:assert/strict";
import { channelChanged, registration, signIn, username } from "./operations.mjs";
import { createClient, WebSocket } from "./packages.mjs";
import { report, within } from "./report.mjs";

const url = `${process.argv[2].replace(/^http/, "ws")}/graphql`;
let channelId;

// Gives `use` a client whose first operation connects it and that stays connected; `sockets` counts its connections.
async function connected(options, use) {
  const sockets = [];
  class Counted extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const client = createClient({ url, webSocketImpl: Counted, retryAttempts: 0, lazyCloseTimeout: 60_000, ...options });
  try {
    return await within(use(client, sockets), "result");
  } finally {
    await client.dispose();
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

// Errors before execution come as an error message or, where graphql-js reports them as a result, as its only result.
async function refused(operation) {
  await connected({}, async (client, sockets) => {
    const errors = await collect(client, operation).then(
      (results) => {
        assert.deepEqual(results.map(({ data }) => data ?? null), [null], "the operation was not refused");
        return results[0].errors;
      },
      (error) => error,
    );
    assert.ok(Array.isArray(errors), `expected GraphQL errors, got ${errors.code ?? errors} ${errors.reason ?? ""}`);
    assert.equal(typeof errors[0].message, "string");
    assert.deepEqual(await collect(client, { query: "{ __typename }" }), [{ data: { __typename: "Query" } }]);
    assert.equal(sockets.length, 1, "the refusal closed the socket");
  });
}

await report([
  ["a query", () =>
    connected({}, async (client) => {
      assert.deepEqual(await collect(client, { query: "{ __typename }" }), [{ data: { __typename: "Query" } }]);
    })],

  ["a mutation", () =>
    connected({}, async (client) => {
      const [{ data }] = await collect(client, registration);
      assert.deepEqual(data.userRegister.errors, []);
      assert.equal(data.userRegister.user.username, username);
      channelId = data.userRegister.user.channel.id;
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

  ["twenty subscriptions and a query on one socket", () =>
    connected({}, async (client, sockets) => {
      const watches = Array.from({ length: 20 }, () => client.iterate(channelChanged(channelId)));
      const firsts = await Promise.all(watches.map((watch) => watch.next()));
      assert.deepEqual(firsts.map(({ value }) => value.data.channelChanged.channel.id), Array(20).fill(channelId));
      assert.deepEqual(await collect(client, { query: "{ __typename }" }), [{ data: { __typename: "Query" } }]);
      await Promise.all(watches.map((watch) => watch.return()));
      assert.equal(sockets.length, 1);
    })],

  ["fifty subscriptions left one after the other", () =>
    connected({}, async (client, sockets) => {
      for (let turn = 0; turn < 50; turn += 1) {
        const watch = client.iterate(channelChanged(channelId));
        assert.equal((await watch.next()).done, false);
        assert.equal((await watch.return()).done, true);
      }
      assert.deepEqual(await collect(client, { query: "{ __typename }" }), [{ data: { __typename: "Query" } }]);
      assert.equal(sockets.length, 1);
    })],

  ["the client's pings are answered", () =>
    connected({ lazy: false, keepAlive: 50, disablePong: true, onNonLazyError: () => {} }, (client) =>
      new Promise((resolve) => {
        client.on("pong", (received) => received && resolve());
      }))],

  ["connectionParams sign in", async () => {
    const token = await connected({}, async (client) => {
      const [{ data }] = await collect(client, signIn);
      assert.deepEqual(data.sessionCreate.errors, []);
      return data.sessionCreate.token;
    });
    for (const name of ["Authorization", "authorization"]) {
      await connected({ connectionParams: { [name]: `Bearer ${token}` } }, async (client) => {
        const results = await collect(client, { query: "{ viewer { username } }" });
        assert.deepEqual(results, [{ data: { viewer: { username } } }], name);
      });
    }
  }],

  ["a bad token closes with 4403", () =>
    connected({ connectionParams: { Authorization: "Bearer wrong" } }, async (client) => {
      await assert.rejects(collect(client, { query: "{ __typename }" }), { code: 4403 });
    })],

  ["an unknown field is an error of its operation", () => refused({ query: "{ fieldThatIsNotThere }" })],
  ["a syntax error is an error of its operation", () => refused({ query: "{" })],
  ["an unknown operationName is an error of its operation", () =>
    refused({ query: "query A { __typename }", operationName: "B" })],
  ["two operations without a name are an error of the operation", () =>
    refused({ query: "query A { __typename } query B { __typename }" })],
  ["a missing variable is an error of its operation", () =>
    refused({ query: "query ($by: ChannelBy!) { channel(by: $by) { id } }", variables: {} })],
  ["a subscription to what does not exist is an error of its operation", () =>
    refused(channelChanged("not an id"))],
]);
