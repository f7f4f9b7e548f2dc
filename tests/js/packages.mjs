// The packages of web/node_modules, for scripts that do not live beside it.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../web/package.json", import.meta.url));

export const { serverAudits } = require("graphql-http");
export const { createClient } = require("graphql-ws");
export const { createClient: createStreamClient } = require("graphql-sse");
export const { WebSocket } = require("ws");
