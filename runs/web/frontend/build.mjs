// Bundles src/pages/*.ts and src/styles/app.css into ../static, and records from what: built.json, licences.txt.
// Same sources and same lock file give the same bytes. `--into DIR` builds elsewhere, to compare.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
process.chdir(HERE); // esbuild names files relative to where it runs
const into = process.argv[2] === "--into" ? resolve(process.argv[3]) : resolve(HERE, "../static");
const BLOCKING = new Set(["theme"]); // classic scripts in <head>, which run before the page is painted
const BUILT = /\.(js|css)$/;

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const read = (path) => readFileSync(join(HERE, path));

function filesUnder(folder) {
  return readdirSync(join(HERE, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(HERE, join(entry.parentPath, entry.name)).replaceAll("\\", "/"));
}

const byCode = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const sources = [...filesUnder("src"), "build.mjs", "package-lock.json", "package.json", "tsconfig.json"].sort(byCode);
const sourcesSha256 = sha256(sources.map((path) => `${path}\0${sha256(read(path))}\n`).join(""));

const shared = {
  bundle: true,
  minify: true,
  charset: "utf8",
  legalComments: "none", // whole licences are in licences.txt
  logLevel: "silent",
  metafile: true,
  write: false,
  target: ["es2022", "chrome111", "firefox115", "safari16.4"],
};

/** Build one entry point; its bytes and the files that went in, or the compiler's messages. */
async function built(entry) {
  const name = basename(entry).replace(/\.ts$/, "");
  const options = entry.endsWith(".css")
    ? { ...shared }
    : { ...shared, format: BLOCKING.has(name) ? "iife" : "esm", platform: "browser" };
  try {
    const result = await esbuild.build({ ...options, entryPoints: [entry] });
    const bytes = Buffer.from(result.outputFiles[0].contents);
    return { file: entry.endsWith(".css") ? basename(entry) : `${name}.js`, bytes, inputs: Object.keys(result.metafile.inputs) };
  } catch (error) {
    const messages = await esbuild.formatMessages(error.errors ?? [{ text: String(error) }], { kind: "error" });
    return { failed: entry, messages };
  }
}

/** The npm package that a bundled file belongs to, as a folder below here; null for our own. */
function packageOf(input) {
  const found = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input);
  return found ? found[1] : null;
}

const entries = readdirSync(join(HERE, "src/pages")).filter((name) => name.endsWith(".ts")).sort(byCode)
  .map((name) => `src/pages/${name}`);
const results = await Promise.all([...entries, "src/styles/app.css"].map(built));
mkdirSync(into, { recursive: true });
const good = results.filter((result) => !result.failed);
for (const { file, bytes } of good) writeFileSync(join(into, file), bytes);
const failed = results.filter((result) => result.failed);
if (failed.length) {
  for (const { failed: entry, messages } of failed) console.error(`${entry}:\n${messages.join("")}`);
  console.error("build: the files above keep their old build, and built.json is not renewed");
  process.exit(1);
}
const names = new Set(good.map(({ file }) => file));
for (const old of readdirSync(into)) if (BUILT.test(old) && !names.has(old)) rmSync(join(into, old));

const lock = JSON.parse(read("package-lock.json").toString());
const locked = (folder) => {
  const entry = lock.packages[folder];
  return { version: entry.version, licence: entry.license, integrity: entry.integrity };
};
const bundled = [...new Set(good.flatMap(({ inputs }) => inputs.map(packageOf)).filter(Boolean))].sort(byCode);
const nameOf = (folder) => folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length);
const licences = bundled.map((folder) => {
  const file = readdirSync(join(HERE, folder)).sort(byCode).find((name) => /^(licen[cs]e|copying)/i.test(name));
  if (!file) throw new Error(`${folder}: no licence file; a package without one is not vendored`);
  const { version, licence } = locked(folder);
  return `${nameOf(folder)} ${version} (${licence})\n\n${read(join(folder, file)).toString().trim()}\n`;
});
const rule = `\n${"-".repeat(100)}\n\n`;
const head = bundled.length
  ? "Libraries that are part of the built files.\n"
  : "No library is part of the built files: they are built from tracescribe's own sources alone.\n";
writeFileSync(join(into, "licences.txt"), [head, ...licences].join(rule));

const record = {
  tools: { esbuild: locked("node_modules/esbuild").version, typescript: locked("node_modules/typescript").version },
  libraries: Object.fromEntries(bundled.map((folder) => [nameOf(folder), locked(folder)])),
  sources_sha256: sourcesSha256,
  files: Object.fromEntries(
    [...good.map(({ file }) => file), "licences.txt"].sort(byCode).map((file) => {
      const bytes = readFileSync(join(into, file));
      return [file, { bytes: bytes.length, sha256: sha256(bytes) }];
    }),
  ),
};
writeFileSync(join(into, "built.json"), `${JSON.stringify(record, null, 2)}\n`);
console.log(`built ${good.length} files, ${bundled.length} libraries, into ${relative(process.cwd(), into) || into}`);
