// Prints the gzip size of what a page loads and fails when a budget is exceeded.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { outDir } from "./units.mjs";

const BUDGET_KB = { shell: 130, remote: 60 };

const manifest = JSON.parse(readFileSync(join(outDir, "manifest.json"), "utf8"));
const kb = (files) => files.reduce((sum, file) => sum + manifest.sizes[file].gzip, 0) / 1024;
const rows = [
  ["shell with React, components and client", kb(manifest.shell.preload), BUDGET_KB.shell],
  ...manifest.remotes.map((remote) => [
    `remote ${remote.id}`,
    kb(remote.chunks.map((chunk) => chunk.file)),
    BUDGET_KB.remote,
  ]),
];

let failed = false;
for (const [name, size, budget] of rows) {
  const over = size > budget;
  failed ||= over;
  console.log(`${name.padEnd(42)} ${size.toFixed(1).padStart(7)} KB gzip  of ${budget} KB${over ? "  TOO LARGE" : ""}`);
}
for (const file of manifest.shell.preload) console.log(`  ${file.padEnd(40)} ${kb([file]).toFixed(1).padStart(7)} KB`);
process.exit(failed ? 1 : 0);
