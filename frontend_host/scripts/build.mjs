// Builds every unit into static/mfe with content-hashed names and writes static/mfe/manifest.json last, so that a
// server that reads the manifest never meets a missing file. `--watch` builds again what changed.
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from "node:fs";
import { join, relative, sep } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "vite";
import { outDir, readUnits, root } from "./units.mjs";

const VIRTUAL = "virtual:vendor/";

function virtualEntries(unit) {
  return {
    name: "portal-vendor-entries",
    resolveId: (id) => (id.startsWith(VIRTUAL) ? `\0${id}` : null),
    load: (id) => (id.startsWith(`\0${VIRTUAL}`) ? unit.virtual[id.slice(VIRTUAL.length + 1)].source : null),
  };
}

async function buildUnit(unit) {
  const input = unit.virtual
    ? Object.fromEntries(Object.keys(unit.virtual).map((file) => [file, VIRTUAL + file]))
    : { [unit.name]: unit.input };
  const result = await build({
    root,
    configFile: false,
    logLevel: "warn",
    publicDir: false,
    plugins: unit.virtual ? [virtualEntries(unit)] : [],
    define: { "process.env.NODE_ENV": '"production"' },
    build: {
      target: "es2022",
      outDir: join(outDir, unit.folder),
      emptyOutDir: false,
      modulePreload: false,
      reportCompressedSize: false,
      rollupOptions: {
        input,
        external: unit.external,
        preserveEntrySignatures: "strict",
        output: {
          format: "es",
          entryFileNames: "[name]-[hash].js",
          chunkFileNames: `${unit.name}-[name]-[hash].js`,
        },
      },
    },
  });
  return describe(unit, result.output);
}

function describe(unit, output) {
  const unexpected = output.filter((file) => file.type !== "chunk").map((file) => file.fileName);
  if (unexpected.length) throw new Error(`${unit.name}: only scripts are expected, got ${unexpected.join(", ")}.`);
  const chunks = output.map((file) => {
    const body = readFileSync(join(outDir, unit.folder, file.fileName));
    return {
      file: `${unit.folder}/${file.fileName}`,
      integrity: `sha384-${createHash("sha384").update(body).digest("base64")}`,
      bytes: body.length,
      gzip: gzipSync(body, { level: 9 }).length,
      entry: file.isEntry ? file.name : null,
      imports: file.imports.map((name) => (unit.external.includes(name) ? name : `${unit.folder}/${name}`)),
    };
  });
  const specifiers = unit.virtual
    ? Object.entries(unit.virtual).map(([file, { specifier }]) => [specifier, file])
    : [[unit.specifier, unit.name]];
  const imports = Object.fromEntries(
    specifiers.map(([specifier, name]) => [specifier, chunks.find((chunk) => chunk.entry === name).file]),
  );
  return { unit, chunks, imports };
}

/** Files the browser needs before the shell's first line runs, for `modulepreload`. */
function preloadOf(file, chunks, imports, seen = new Set()) {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const name of chunks.get(file).imports) preloadOf(imports[name] ?? name, chunks, imports, seen);
  return seen;
}

function writeManifest(built) {
  const imports = Object.assign({}, ...built.map((one) => one.imports));
  const all = new Map(built.flatMap((one) => one.chunks.map((chunk) => [chunk.file, chunk])));
  const integrity = Object.fromEntries([...all.values()].map((chunk) => [chunk.file, chunk.integrity]).sort());
  const entry = imports["@portal/shell"];
  const manifest = {
    schema: 1,
    release: createHash("sha256").update(JSON.stringify(integrity)).digest("hex").slice(0, 16),
    imports,
    integrity,
    shell: { entry, preload: [...preloadOf(entry, all, imports)] },
    remotes: built
      .filter((one) => one.unit.manifest)
      .map(({ unit, chunks }) => ({
        ...unit.manifest,
        module: unit.specifier,
        entry: imports[unit.specifier],
        chunks: chunks.map(({ file, integrity: hash, bytes, gzip }) => ({ file, integrity: hash, bytes, gzip })),
      })),
    sizes: Object.fromEntries([...all.values()].map((chunk) => [chunk.file, { bytes: chunk.bytes, gzip: chunk.gzip }])),
  };
  const target = join(outDir, "manifest.json");
  writeFileSync(`${target}.new`, `${JSON.stringify(manifest, null, 1)}\n`);
  renameSync(`${target}.new`, target);
  removeStale(new Set([...all.keys(), "manifest.json"]));
  return manifest;
}

/** Files of earlier builds; those younger than an hour stay for pages that are still open. */
function removeStale(kept) {
  const old = Date.now() - 3_600_000;
  for (const name of readdirSync(outDir, { recursive: true })) {
    const path = join(outDir, name);
    const stat = statSync(path);
    if (stat.isFile() && !kept.has(name.split(sep).join("/")) && stat.mtimeMs < old) rmSync(path);
  }
}

async function buildAll(units) {
  const started = performance.now();
  const built = [];
  for (const unit of units) built.push(await buildUnit(unit));
  const manifest = writeManifest(built);
  console.log(
    `built ${units.length} units, release ${manifest.release}, in ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
  return built;
}

mkdirSync(outDir, { recursive: true });
const units = readUnits();
const built = await buildAll(units);

if (process.argv.includes("--watch")) {
  let timer;
  const dirty = new Set();
  for (const folder of ["packages", "shell", "remotes"]) {
    watch(join(root, folder), { recursive: true }, (_event, name) => {
      if (!name || !existsSync(join(root, folder))) return;
      const parts = relative(root, join(root, folder, name)).split(sep);
      const owner = folder === "shell" ? "shell" : parts[1];
      const touched = units.filter((unit) => unit.name === owner && unit.folder === folder);
      // A package that is bundled, not shared, may be in any unit.
      for (const unit of touched.length ? touched : units.slice(1)) dirty.add(unit);
      clearTimeout(timer);
      timer = setTimeout(async () => {
        const todo = [...dirty];
        dirty.clear();
        try {
          for (const unit of todo) built[units.indexOf(unit)] = await buildUnit(unit);
          console.log(`release ${writeManifest(built).release}: ${todo.map((unit) => unit.name).join(", ")}`);
        } catch (error) {
          console.error(error.message);
        }
      }, 120);
    });
  }
}
