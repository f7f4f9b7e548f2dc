// What a server must do with messages that no good client sends: PROTOCOL.md of graphql-ws, sentence by sentence.
// Usage: node ws_protocol.mjs http://127.0.0.1:8000
import assert from "node:assert/strict";
import { once } from "node:events";
import { channelChanged, register } from "./operations.mjs";
import { WebSocket } from "./packages.mjs";
import { report, within } from "./report.mjs";

const server = process.argv[2];
const url = `${server.replace(/^http/, "ws")}/graphql`;
const channelId = await register(server);
const typename = { query: "{ __typename }" };

class Peer {
  constructor(protocols) {
    this.received = [];
    this.socket = new WebSocket(url, protocols);
    this.socket.on("message", (data) => this.received.push(JSON.parse(data)));
    this.closed = new Promise((resolve) => {
      this.socket.once("close", (code, reason) => resolve({ code, reason: String(reason) }));
      this.socket.once("error", (error) => resolve({ code: null, reason: error.message }));
    });
  }

  send(message) {
    this.socket.send(typeof message === "string" || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  }

  async next() {
    while (this.received.length === 0) {
      const end = await within(Promise.race([once(this.socket, "message").then(() => null), this.closed]), "message");
      if (end) throw new Error(`closed with ${end.code} ${end.reason} instead of an answer`);
    }
    return this.received.shift();
  }
}

async function open(use, { initialised = true, protocols = "graphql-transport-ws" } = {}) {
  const peer = new Peer(protocols);
  try {
    await within(Promise.race([once(peer.socket, "open"), peer.closed]), "handshake");
    if (initialised) {
      peer.send({ type: "connection_init" });
      assert.equal((await peer.next()).type, "connection_ack");
    }
    await use(peer);
  } finally {
    peer.socket.terminate();
  }
}

const closes = (code, reason, messages, options) => () =>
  open(async (peer) => {
    for (const message of messages) peer.send(message);
    const end = await within(peer.closed, "close");
    assert.equal(end.code, code, `closed with ${end.code} ${end.reason}`);
    if (reason === null) assert.notEqual(end.reason, "", "the close says no reason");
    else assert.equal(end.reason, reason);
  }, options);

const early = { initialised: false };
const invalid = (message, options) => closes(4400, null, [message], options);
const subscribe = (id, payload) => ({ id, type: "subscribe", payload });

// After this, everything the server had to say about earlier messages has arrived.
async function silence(peer) {
  peer.send({ type: "ping", payload: { after: "everything" } });
  assert.equal((await peer.next()).type, "pong");
}

const malformed = {
  "not JSON": "{",
  "an empty frame": "",
  "an array": "[]",
  "a number": "1",
  "a string": '"ping"',
  "null": "null",
  "true": "true",
  "no type": {},
  "a numeric type": { type: 1 },
  "an unknown type": { type: "start", id: "1", payload: typename },
  "a type only the server sends: connection_ack": { type: "connection_ack" },
  "a type only the server sends: next": { type: "next", id: "1", payload: { data: {} } },
  "a type only the server sends: error": { type: "error", id: "1", payload: [{ message: "no" }] },
  "a ping with a text payload": { type: "ping", payload: "x" },
  "a pong with an array payload": { type: "pong", payload: [] },
  "subscribe without an id": { type: "subscribe", payload: typename },
  "subscribe with a numeric id": subscribe(1, typename),
  "subscribe with a null id": subscribe(null, typename),
  "subscribe with an empty id": subscribe("", typename),
  "subscribe without a payload": { id: "1", type: "subscribe" },
  "subscribe with a null payload": subscribe("1", null),
  "subscribe with an array payload": subscribe("1", [typename]),
  "subscribe with a text payload": subscribe("1", typename.query),
  "subscribe without a query": subscribe("1", {}),
  "subscribe with a null query": subscribe("1", { query: null }),
  "subscribe with a numeric query": subscribe("1", { query: 5 }),
  "subscribe with array variables": subscribe("1", { ...typename, variables: [] }),
  "subscribe with text variables": subscribe("1", { ...typename, variables: "{}" }),
  "subscribe with a numeric operationName": subscribe("1", { ...typename, operationName: 1 }),
  "subscribe with text extensions": subscribe("1", { ...typename, extensions: "x" }),
  "complete without an id": { type: "complete" },
  "complete with a numeric id": { id: 1, type: "complete" },
  "complete with an empty id": { id: "", type: "complete" },
  "a binary frame that is not JSON": Buffer.from([0xff, 0x00]),
  "a binary frame that is JSON": Buffer.from('{"type":"ping"}'),
};

await report([
  ...Object.entries(malformed).map(([name, message]) => [`4400: ${name}`, invalid(message)]),
  ["4400: not JSON, before connection_init", invalid("{", early)],
  ["4400: a binary frame, before connection_init", invalid(Buffer.from([0xff]), early)],
  ["4400: connection_init with a text payload", invalid({ type: "connection_init", payload: "x" }, early)],
  ["4400: connection_init with an array payload", invalid({ type: "connection_init", payload: [] }, early)],

  ["4401: subscribe before connection_init", closes(4401, "Unauthorized", [subscribe("1", typename)], early)],
  ["4403: an unknown token", closes(
    4403, null, [{ type: "connection_init", payload: { Authorization: "Bearer wrong" } }], early)],
  ["4403: an Authorization that is not text", closes(
    4403, null, [{ type: "connection_init", payload: { Authorization: 5 } }], early)],
  ["4408: no connection_init", closes(4408, "Connection initialisation timeout", [], early)],
  ["4408: a ping is no connection_init", closes(4408, "Connection initialisation timeout", [{ type: "ping" }], early)],
  ["4429: a second connection_init", closes(
    4429, "Too many initialisation requests", [{ type: "connection_init" }])],
  ["4429: two connection_init at once", closes(
    4429, "Too many initialisation requests", [{ type: "connection_init" }, { type: "connection_init" }], early)],

  ["4409: an id in use by a subscription", () =>
    open(async (peer) => {
      peer.send(subscribe("same", channelChanged(channelId)));
      assert.equal((await peer.next()).type, "next");
      peer.send(subscribe("same", typename));
      assert.deepEqual(await within(peer.closed, "close"), {
        code: 4409,
        reason: "Subscriber for same already exists",
      });
    })],
  ["4409: the same id twice at once", closes(4409, "Subscriber for same already exists", [
    subscribe("same", channelChanged(channelId)), subscribe("same", channelChanged(channelId))])],

  ["4406: no subprotocol", closes(4406, "Subprotocol not acceptable", [], { initialised: false, protocols: [] })],
  // The client must give up by itself when none of its offers is chosen, so the code is not always seen.
  ...["graphql-ws", "chat"].map((protocol) => [`no service for the subprotocol ${protocol}`, () =>
    open(async (peer) => {
      const { code } = await within(peer.closed, "close");
      assert.ok(code === null || code === 4406, `closed with ${code}`);
    }, { initialised: false, protocols: protocol })]),
  ["graphql-transport-ws is chosen among others", () =>
    open(async (peer) => assert.equal(peer.socket.protocol, "graphql-transport-ws"), {
      protocols: ["graphql-ws", "graphql-transport-ws"],
    })],

  ["connection_init may have a null payload", () =>
    open(async (peer) => {
      peer.send({ type: "connection_init", payload: null });
      assert.equal((await peer.next()).type, "connection_ack");
    }, early)],
  ["a ping before connection_init is answered", () => open(silence, early)],
  ["a ping with a null payload is answered", () =>
    open(async (peer) => {
      peer.send({ type: "ping", payload: null });
      assert.equal((await peer.next()).type, "pong");
    })],
  ["a pong nobody asked for is ignored", () =>
    open(async (peer) => {
      peer.send({ type: "pong" });
      await silence(peer);
    })],
  ["complete for an unknown id is ignored", () =>
    open(async (peer) => {
      peer.send({ id: "unknown", type: "complete" });
      await silence(peer);
    })],
  ["nulls for what is optional are accepted", () =>
    open(async (peer) => {
      peer.send(subscribe("1", { ...typename, variables: null, operationName: null, extensions: null }));
      assert.deepEqual(await peer.next(), { id: "1", type: "next", payload: { data: { __typename: "Query" } } });
    })],

  ["a query is next, then complete, and its id is free again", () =>
    open(async (peer) => {
      for (let turn = 0; turn < 2; turn += 1) {
        peer.send(subscribe("same", typename));
        assert.deepEqual(await peer.next(), { id: "same", type: "next", payload: { data: { __typename: "Query" } } });
        assert.deepEqual(await peer.next(), { id: "same", type: "complete" });
      }
      await silence(peer);
    })],
  ["an error ends its operation without complete, and its id is free again", () =>
    open(async (peer) => {
      peer.send(subscribe("same", { query: "{ fieldThatIsNotThere }" }));
      const { id, type, payload } = await peer.next();
      assert.deepEqual([id, type, typeof payload[0].message], ["same", "error", "string"]);
      await silence(peer);
      peer.send(subscribe("same", typename));
      assert.equal((await peer.next()).type, "next");
    })],
  ["a subscription the client completes stays silent, and its id is free again", () =>
    open(async (peer) => {
      for (let turn = 0; turn < 2; turn += 1) {
        peer.send(subscribe("same", channelChanged(channelId)));
        assert.equal((await peer.next()).type, "next");
        peer.send({ id: "same", type: "complete" });
        await silence(peer);
      }
    })],
]);
