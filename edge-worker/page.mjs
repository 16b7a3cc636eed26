// Copies the built page into the folder that it is served from, and writes its HTTP headers there. Cloudflare serves the folder
// as static assets, without calling the worker. On a machine of your own, Caddy serves it.
//
// PAGENOW_ORIGIN=… PAGENOW_ISSUER=… PAGENOW_IMAGES=… [PAGENOW_SIGN_IN=…] node edge-worker/page.mjs cloudflare|caddy BUILT FOLDER
//
// FOLDER then holds `app/`, and `_headers` for Cloudflare or `headers.caddy` for Caddy.

import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { argv, env, exit, stderr } from "node:process";

/** The origin of an address. The rest is dropped, so that it cannot add anything to the policy in which the origin is written. */
const origin = (name, address) => {
  const { protocol, origin } = URL.canParse(address ?? "") ? new URL(address) : {};
  if (protocol !== "https:" && protocol !== "http:") throw new Error(`${name} must be an http or https address`);
  return origin;
};

/** The headers of every file of the page. PAGENOW_SIGN_IN is the origin of the issuer's endpoints, if the issuer's differs. */
export const headers = ({ PAGENOW_ORIGIN, PAGENOW_ISSUER, PAGENOW_IMAGES, PAGENOW_SIGN_IN }) => {
  const own = origin("PAGENOW_ORIGIN", PAGENOW_ORIGIN);
  const images = origin("PAGENOW_IMAGES", PAGENOW_IMAGES);
  const issuers = new Set([origin("PAGENOW_ISSUER", PAGENOW_ISSUER)]);
  if (PAGENOW_SIGN_IN) issuers.add(origin("PAGENOW_SIGN_IN", PAGENOW_SIGN_IN));
  const policy = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "worker-src": ["'self'"],
    "manifest-src": ["'self'"],
    // A chosen picture is shown before it is uploaded.
    "img-src": ["'self'", "data:", "blob:", images],
    // Not every browser takes 'self' as the address of a WebSocket.
    "connect-src": ["'self'", own.replace(/^http/, "ws"), ...issuers, images],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "frame-ancestors": ["'none'"],
  };
  return {
    "Content-Security-Policy": Object.entries(policy).map(([name, sources]) => [name, ...sources].join(" ")).join("; "),
    "X-Content-Type-Options": "nosniff",
    // Files must be revalidated, because their names carry no hash. With hashes, half of the machines would not have the named
    // files during a roll-out.
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
  };
};

const WRITERS = {
  cloudflare: (folder, all) => {
    const lines = Object.entries(all).map(([name, value]) => `  ${name}: ${value}\n`);
    writeFileSync(join(folder, "_headers"), `/app/*\n${lines.join("")}`);
  },
  caddy: (folder, all) => {
    const lines = Object.entries(all).map(([name, value]) => `header ${name} "${value}"\n`);
    writeFileSync(join(folder, "headers.caddy"), lines.join(""));
  },
};

if (import.meta.filename === argv[1]) {
  const [server, built, folder] = argv.slice(2);
  try {
    if (!(server in WRITERS) || !folder) throw new Error("say cloudflare or caddy, the folder of the built page, and the one it is served from");
    const all = headers(env);
    if (!existsSync(join(built, "index.html"))) throw new Error(`${built} holds no built page: npm run build --workspace client`);
    // The folder itself is not replaced, because the server watches it.
    rmSync(join(folder, "app"), { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    WRITERS[server](folder, all);
    cpSync(built, join(folder, "app"), { recursive: true });
  } catch (error) {
    stderr.write(`${error.message}\n`);
    exit(1);
  }
}
