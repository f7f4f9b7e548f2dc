// The audits of GraphQL over HTTP that graphql-http publishes. Usage: node http_audits.mjs http://127.0.0.1:8000
import { serverAudits } from "./packages.mjs";
import { report } from "./report.mjs";

const audits = serverAudits({ url: `${process.argv[2]}/graphql`, fetchFn: fetch });

await report(
  audits.map(({ id, name, fn }) => [
    `${id} ${name}`,
    async () => {
      const { status, reason, response } = await fn();
      if (status !== "ok") throw new Error(`${status}: ${reason} (answered ${response?.status})`);
    },
  ]),
);
