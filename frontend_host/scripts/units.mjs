// What is built: the vendored React set, the shared packages, the shell and one unit per remote.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));
export const outDir = fileURLToPath(new URL("../../static/mfe/", import.meta.url));

// Node resolves React to its production build only under this name; its export names are read from it below.
process.env.NODE_ENV = "production";
const require = createRequire(import.meta.url);

/** React's files are CommonJS; an entry with explicit exports makes each an ES module with names. */
function vendorSource(specifier) {
  const names = Object.keys(require(specifier)).filter((name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== "default");
  const lines = names.map((name) => `export const ${name} = module_.${name};`);
  return [`import module_ from "${specifier}";`, "export default module_;", ...lines].join("\n");
}

const VENDORED = {
  react: "react",
  "react/jsx-runtime": "react-jsx-runtime",
  "react-dom": "react-dom",
  "react-dom/client": "react-dom-client",
};

/** Packages every unit takes from the import map instead of bundling. */
const SHARED = ["@portal/ui", "@portal/api-client"];

const external = [...Object.keys(VENDORED), ...SHARED];

export function readUnits() {
  const shared = SHARED.map((specifier) => ({
    name: specifier.replace("@portal/", ""),
    folder: "packages",
    specifier,
    input: join(root, "packages", specifier.replace("@portal/", ""), "src/index.ts"),
    external: external.filter((other) => other !== specifier),
  }));
  const remotes = readdirSync(join(root, "remotes")).map((id) => ({
    name: id,
    folder: "remotes",
    specifier: `@portal/remotes/${id}`,
    input: join(root, "remotes", id, "src/index.tsx"),
    manifest: JSON.parse(readFileSync(join(root, "remotes", id, "manifest.json"), "utf8")),
    external,
  }));
  for (const { name, manifest } of remotes) {
    if (manifest.id !== name) throw new Error(`remotes/${name}/manifest.json says id "${manifest.id}".`);
  }
  return [
    {
      name: "vendor",
      folder: "vendor",
      virtual: Object.fromEntries(
        Object.entries(VENDORED).map(([specifier, file]) => [file, { specifier, source: vendorSource(specifier) }]),
      ),
      external: [],
    },
    ...shared,
    {
      name: "shell",
      folder: "shell",
      specifier: "@portal/shell",
      input: join(root, "shell/src/main.tsx"),
      external,
    },
    ...remotes,
  ];
}
