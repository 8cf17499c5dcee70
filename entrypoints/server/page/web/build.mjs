// Writes index.html: the page with its script and its styles inline, so that one file is the whole page.
//
//   node build.mjs          writes ../index.html
//   node build.mjs FILE     writes FILE, for a comparison with the committed one

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = dirname(fileURLToPath(import.meta.url));

// The licenses of what is bundled ask for their text; DOMPurify is taken under the Apache License 2.0, as LitGPT.
const LICENSED = ["preact", "marked", "highlight.js"];
const DOMPURIFY = "dompurify\n\nCopyright Cure53 and other contributors, Apache License 2.0\n";

/** The files that the page is made of, with paths relative to this folder, in a fixed order. */
function sourceFiles() {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll("\\", "/"),
    );
  return names.filter((name) => !name.startsWith("node_modules/")).sort();
}

/** A hash by which a test sees that the committed page was built from these sources. */
function sourceHash() {
  const hash = createHash("sha256");
  for (const name of sourceFiles()) {
    const content = readFileSync(join(folder, name));
    hash.update(`${name}\n${content.length}\n`).update(content);
  }
  return hash.digest("hex");
}

async function bundle(entry) {
  const result = await build({
    entryPoints: [join(folder, entry)],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: ["chrome123", "firefox120", "safari17.5"],
    charset: "utf8",
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    absWorkingDir: folder,
    logLevel: "warning",
  });
  return result.outputFiles[0].text.trim();
}

function licenses() {
  const texts = LICENSED.map((name) => {
    const text = readFileSync(join(folder, "node_modules", name, "LICENSE"), "utf8");
    return `${name}\n\n${text.trim()}\n`;
  });
  const text = [...texts, DOMPURIFY].join("\n");
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

const parts = {
  SOURCES: sourceHash(),
  STYLE: await bundle("src/styles/main.css"),
  LICENSES: licenses(),
  SCRIPT: await bundle("src/main.tsx"),
};
const template = readFileSync(join(folder, "src/index.html"), "utf8");
const page = template.replace(/\{\{(\w+)\}\}/g, (_, name) => parts[name]);
writeFileSync(process.argv[2] ?? join(folder, "..", "index.html"), page);
