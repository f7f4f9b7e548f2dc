// Starts GraphiQL in the page that schema/transport/graphiql.py writes; all it needs to know stands in data attributes.
"use strict";

const mount = document.getElementById("graphiql");
const endpoint = new URL(mount.dataset.endpoint, window.location.href);
const socket = new URL(endpoint);
socket.protocol = endpoint.protocol === "https:" ? "wss:" : "ws:";

// A subscription opens its own socket and passes the headers editor's content as the parameters of connection_init,
// so that an Authorization header typed there signs in both ways.
const fetcher = GraphiQL.createFetcher({
  url: endpoint.href,
  subscriptionUrl: socket.href,
  headers: { accept: "application/graphql-response+json, application/json" },
  enableIncrementalDelivery: false,
});

// GraphiQL keeps headers, which hold tokens, only if the developer asks for it in the settings; its history forgets to
// look at that setting.
const histories = ["graphiql:queries", "graphiql:favorites"];
const own = () => Object.keys(localStorage).filter((key) => key.startsWith("graphiql:"));
const storage = {
  get length() {
    return own().length;
  },
  getItem: (key) => localStorage.getItem(key),
  removeItem: (key) => localStorage.removeItem(key),
  clear: () => own().forEach((key) => localStorage.removeItem(key)),
  setItem(key, value) {
    const asked = localStorage.getItem("graphiql:shouldPersistHeaders") === "true";
    const kept = (name, inner) => (name === "headers" ? undefined : inner);
    localStorage.setItem(key, histories.includes(key) && !asked ? JSON.stringify(JSON.parse(value, kept)) : value);
  },
};

ReactDOM.createRoot(mount).render(
  React.createElement(GraphiQL, {
    fetcher,
    plugins: [GraphiQLPluginExplorer.explorerPlugin({ showAttribution: false })],
    defaultTabs: JSON.parse(mount.dataset.tabs),
    defaultEditorToolsVisibility: true,
    isHeadersEditorEnabled: true,
    storage,
    showPersistHeadersSettings: true,
    inputValueDeprecation: true,
    schemaDescription: true,
  }),
);
