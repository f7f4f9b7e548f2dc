// Prints a channel's title whenever it changes, for ever. Usage: node sse_titles.mjs http://127.0.0.1:8000 CHANNEL_ID
import { createStreamClient } from "./packages.mjs";

const [server, channelId] = process.argv.slice(2);
const client = createStreamClient({
  url: `${server}/graphql`,
  retryAttempts: Infinity,
  retry: () => new Promise((resolve) => setTimeout(resolve, 50)),
});
const query = "subscription ($id: ID!) { channelChanged(channelId: $id) { channel { title } } }";
for await (const { data, errors } of client.iterate({ query, variables: { id: channelId } })) {
  console.log(errors ? JSON.stringify(errors) : data.channelChanged.channel.title);
}
console.log("complete");
