// Builds the client for one system: the page (`app`) and the extension for each browser (`chromium`, `firefox`).
//
// PAGENOW_ORIGIN=… PAGENOW_ISSUER=… PAGENOW_CLIENT_ID=… PAGENOW_IMAGES=… [PAGENOW_SIGN_IN=…] [PAGENOW_EXTENSION_KEY=…] [PAGENOW_FIREFOX_ID=…] \
//   node build.mjs [FOLDER, else dist]

import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { argv, env, exit, stderr, stdout } from "node:process";

import { build } from "esbuild";

import { DEVELOPMENT_KEY, FIREFOX_ID, manifest, redirects } from "./manifest.mjs";

const here = import.meta.dirname;
const to = argv[2] ?? join(here, "dist");

/** Reads the constants of the system that the client is for from the environment. */
function site() {
  const needed = (name) => {
    const value = env[name];
    if (!value) throw new Error(`${name} is not set; the first lines of build.mjs say what is needed`);
    return value;
  };
  const address = (name, value) => {
    if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol)) throw new Error(`${name} must be an http or https address`);
    return value;
  };
  const firefoxId = env.PAGENOW_FIREFOX_ID || FIREFOX_ID;
  // Mozilla's rule for ids of extensions.
  if (!/^([\w.+-]{0,64}@[\w.-]{1,64}|\{[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\})$/i.test(firefoxId)) {
    throw new Error("PAGENOW_FIREFOX_ID must look like an e-mail address, such as pagenow@example.org, or be a UUID in braces");
  }
  const origin = new URL(address("PAGENOW_ORIGIN", needed("PAGENOW_ORIGIN"))).origin;
  return {
    origin,
    issuer: address("PAGENOW_ISSUER", needed("PAGENOW_ISSUER")),
    clientId: needed("PAGENOW_CLIENT_ID"),
    images: address("PAGENOW_IMAGES", needed("PAGENOW_IMAGES")),
    signIn: env.PAGENOW_SIGN_IN ? address("PAGENOW_SIGN_IN", env.PAGENOW_SIGN_IN) : undefined,
    // Chromium stores assign a key themselves, and reject an archive that has one.
    key: env.PAGENOW_EXTENSION_KEY || (origin.startsWith("http:") ? DEVELOPMENT_KEY : undefined),
    firefoxId,
    version: JSON.parse(readFileSync(join(here, "package.json"), "utf8")).version,
  };
}

/** The HTML around the views. Scripts and styles are files, because the Content-Security-Policy allows no inline ones. */
const html = (surface) => `<!doctype html>
<html lang="en" data-surface="${surface}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>PageNow</title>
<link rel="icon" href="icons/32.png">
<link rel="stylesheet" href="view.css">
<script src="view.js" type="module"></script>
<body>
<div id="root"></div>
</body>
</html>
`;

async function bundle(folder, entries, constants) {
  await build({
    entryPoints: entries.map(([name, path]) => ({ out: name, in: join(here, path) })),
    outdir: folder,
    bundle: true,
    format: "esm",
    target: ["chrome123", "firefox140", "safari17.5"],
    jsx: "automatic",
    jsxImportSource: "preact",
    minify: true,
    legalComments: "none",
    define: Object.fromEntries(Object.entries(constants).map(([name, value]) => [`SITE.${name}`, JSON.stringify(value)])),
    logLevel: "warning",
  });
}

/**
 * Builds a folder under a temporary name, and renames it when it is complete. So a server of the folder never sees half of it.
 */
async function place(name, fill) {
  const [unfinished, folder] = [join(to, `.${name}`), join(to, name)];
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  await fill(unfinished);
  rmSync(folder, { recursive: true, force: true });
  renameSync(unfinished, folder);
}

try {
  const all = site();
  const constants = { origin: all.origin, issuer: all.issuer, clientId: all.clientId };
  const view = ["view", "src/views/main.tsx"];
  await place("app", async (folder) => {
    await bundle(folder, [view, ["worker", "src/worker/page.ts"]], { ...constants, surface: "page" });
    cpSync(join(here, "icons"), join(folder, "icons"), { recursive: true });
    writeFileSync(join(folder, "index.html"), html("page"));
  });
  for (const browser of ["chromium", "firefox"]) {
    await place(browser, async (folder) => {
      await bundle(folder, [view, ["background", "src/worker/extension.ts"]], { ...constants, surface: browser });
      for (const part of ["icons", "_locales"]) cpSync(join(here, part), join(folder, part), { recursive: true });
      for (const surface of ["popup", "panel", "tab"]) writeFileSync(join(folder, `${surface}.html`), html(surface));
      writeFileSync(join(folder, "manifest.json"), `${JSON.stringify(manifest(browser, all), undefined, 2)}\n`);
    });
  }
  const returns = redirects(all).join("\n");
  writeFileSync(join(to, "redirects.txt"), `${returns}\n`);
  stdout.write(`Sign-in returns to\n${returns}\n`);
} catch (error) {
  stderr.write(`${error.message}\n`);
  exit(1);
}
