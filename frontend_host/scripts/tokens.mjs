// Writes static/portal/tokens.css from packages/tokens/src/tokens.json (`--check`: only compares).
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../packages/tokens/src/tokens.json", import.meta.url));
const target = fileURLToPath(new URL("../../static/portal/tokens.css", import.meta.url));
const tokens = JSON.parse(readFileSync(source, "utf8"));

const lines = (set, indent) =>
  Object.entries(set)
    .map(([name, value]) => `${indent}--${name}: ${value};`)
    .join("\n");

const css = `/* Written by \`npm run tokens\` from packages/tokens/src/tokens.json; edit that file. */
@font-face {
  font-family: "Inter Variable";
  font-weight: 100 900;
  font-display: swap;
  src: url("fonts/inter-latin-ext-wght-normal.woff2") format("woff2");
  unicode-range: U+0100-02BA, U+02BD-02C5, U+02C7-02CC, U+02CE-02D7, U+02DD-02FF, U+0304, U+0308, U+0329, U+1D00-1DBF,
    U+1E00-1E9F, U+1EF2-1EFF, U+2020, U+20A0-20AB, U+20AD-20C0, U+2113, U+2C60-2C7F, U+A720-A7FF;
}
@font-face {
  font-family: "Inter Variable";
  font-weight: 100 900;
  font-display: swap;
  src: url("fonts/inter-latin-wght-normal.woff2") format("woff2");
  unicode-range: U+0000-00FF, U+0131, U+0152-0153, U+02BB-02BC, U+02C6, U+02DA, U+02DC, U+0304, U+0308, U+0329, U+2000-206F,
    U+20AC, U+2122, U+2191, U+2193, U+2212, U+2215, U+FEFF, U+FFFD;
}
:root {
  color-scheme: light;
${lines(tokens.scale, "  ")}
${lines(tokens.light, "  ")}
}
@media (prefers-color-scheme: dark) {
  :root:not([data-theme="light"]) {
    color-scheme: dark;
${lines(tokens.dark, "    ")}
  }
}
:root[data-theme="dark"] {
  color-scheme: dark;
${lines(tokens.dark, "  ")}
}
`;

if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== css) {
    console.error("static/portal/tokens.css is older than packages/tokens/src/tokens.json: run `npm run tokens`.");
    process.exit(1);
  }
} else {
  writeFileSync(target, css);
  console.log(`wrote ${target}`);
}
