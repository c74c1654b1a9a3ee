// Usage: npm run generate:api -- <openapi.json|yaml>. Writes the types of the OpenAPI document beside the client.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [document] = process.argv.slice(2);
if (!document || !existsSync(document)) {
  console.error(
    "Give the OpenAPI document: `python manage.py spectacular --file openapi.json --format openapi-json`, then",
  );
  console.error("`npm run generate:api -- openapi.json`.");
  process.exit(1);
}
const target = fileURLToPath(new URL("../packages/api-client/src/generated.ts", import.meta.url));
const tool = fileURLToPath(new URL("../node_modules/openapi-typescript/bin/cli.js", import.meta.url));
const { status } = spawnSync(process.execPath, [tool, document, "-o", target, "--immutable"], { stdio: "inherit" });
process.exit(status ?? 1);
