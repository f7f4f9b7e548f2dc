// Clients of graphql-ws, each on a socket of its own, that watch a channel and write what they show, line by line.
// Usage: node watchers.mjs http://127.0.0.1:8000 channelId count
import { createClient, WebSocket } from "./packages.mjs";

const [server, channelId, count] = process.argv.slice(2);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const operation = {
  query: "subscription Watch($channelId: ID!) { channelChanged(channelId: $channelId) { channel { title } } }",
  variables: { channelId },
};

for (let watcher = 0; watcher < Number(count); watcher += 1) {
  const client = createClient({
    url: `${server.replace(/^http/, "ws")}/graphql`,
    webSocketImpl: WebSocket,
    // As docs/frontend.md says, but without pauses of seconds.
    retryAttempts: Infinity,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 50 + 100 * Math.random())),
    shouldRetry: ({ code }) => code !== 4403,
    on: { closed: ({ code }) => say({ watcher, closed: code }) },
  });
  client.subscribe(operation, {
    next: ({ data, errors }) => say(errors ? { watcher, errors } : { watcher, shows: data.channelChanged.channel.title }),
    error: (error) => say({ watcher, error: error.code ?? error }),
    complete: () => say({ watcher, complete: true }),
  });
}
