// What wrangler.toml serves as files, and what it passes to the worker. The tests use another worker and another page. Published
// extensions open sockets at /, and no page may take the place of an answer of the core.
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { experimental_readRawConfig as readRawConfig, unstable_readConfig as readConfig, unstable_startWorker as startWorker } from "wrangler";

import { headers } from "../page.mjs";

const template = fileURLToPath(new URL("../../wrangler.toml", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "assets-"));
const WORKER = `export default { fetch(request) {
  if (request.headers.get("upgrade") === "websocket") {
    const { 0: client, 1: server } = new WebSocketPair();
    server.accept();
    return new Response(null, { status: 101, webSocket: client });
  }
  return new Response("the worker", { headers: { "x-path": new URL(request.url).pathname } });
} };`;

let worker;
let url;

before(async () => {
  const { rawConfig } = readRawConfig({ config: template });
  const write = (name, text) => {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), text);
  };
  write("worker.mjs", WORKER);
  // There are files outside /app/ too, which must never be served.
  for (const name of ["index.html", "app/index.html", "docs/index.html", "404.html", "app/404.html"]) write(`site/${name}`, `file ${name}`);
  write("site/app/worker.js", "// a script");
  const assets = { ...rawConfig.assets, directory: "site" };
  const { compatibility_date } = rawConfig;
  write("wrangler.json", JSON.stringify({ name: "assets", main: "worker.mjs", compatibility_date, assets }));
  Object.assign(process.env, { WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false" });
  worker = await startWorker({
    config: join(folder, "wrangler.json"),
    dev: { server: { port: 0 }, inspector: false, logLevel: "error", watch: false, persist: join(folder, "state") },
  });
  url = await worker.url;
});

after(async () => {
  await worker?.dispose();
  rmSync(folder, { recursive: true });
});

/** The headers of a browser in which somebody follows a link. Some rules for assets look at them alone. */
const NAVIGATION = { "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", Accept: "text/html" };

const get = (path, headers = {}) => fetch(new URL(path, url), { headers, redirect: "manual" });

test("the page is served at /app/ and nowhere else", async () => {
  assert.equal(await (await get("/app/")).text(), "file app/index.html");
  assert.equal(await (await get("/app/worker.js")).text(), "// a script");
  const moved = await get("/app");
  assert.deepEqual([moved.status, new URL(moved.headers.get("location"), url).pathname], [307, "/app/"]);
});

test("everything else is the worker's, also when a browser navigates", async () => {
  for (const path of ["/", "/index.html", "/docs", "/docs/", "/docs/index.html", "/users/me", "/application", "/404.html", "/_headers"]) {
    for (const headers of [{}, NAVIGATION]) {
      const answer = await get(path, headers);
      assert.equal(await answer.text(), "the worker", path);
      assert.equal(answer.headers.get("x-path"), path);
    }
  }
});

test("no page stands in for a file that is not there", async () => {
  for (const headers of [{}, NAVIGATION]) {
    const answer = await get("/app/nothing", headers);
    assert.equal(answer.status, 404);
    assert.ok(!(await answer.text()).includes("file "));
  }
});

test("a socket opens at the root", async () => {
  const { hostname, port, host } = url;
  const socket = connect(Number(port), hostname);
  const lines = ["GET / HTTP/1.1", `Host: ${host}`, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
  socket.write([...lines, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""].join("\r\n"));
  const [first] = await once(socket, "data");
  socket.destroy();
  assert.match(String(first), /^HTTP\/1\.1 101 /);
});

test("every environment serves the same", () => {
  const own = readConfig({ config: template }, { hideWarnings: true }).assets;
  for (const env of ["staging", "production"]) {
    assert.deepEqual(readConfig({ config: template, env }, { hideWarnings: true }).assets, own, env);
  }
});

test("the policy lets the page reach its own origin, the issuer and the images, and nothing else", () => {
  const all = headers({
    PAGENOW_ORIGIN: "https://edge.example.org",
    PAGENOW_ISSUER: "https://id.example.org/pool",
    PAGENOW_SIGN_IN: "https://sign-in.example.org/",
    PAGENOW_IMAGES: "https://images.example.org/bucket",
  });
  assert.equal(all["X-Content-Type-Options"], "nosniff");
  assert.equal(all["Cache-Control"], "no-cache");
  const policy = Object.fromEntries(all["Content-Security-Policy"].split("; ").map((part) => [part.split(" ")[0], part.split(" ").slice(1)]));
  assert.deepEqual(policy["default-src"], ["'none'"]);
  for (const name of ["script-src", "style-src", "worker-src"]) assert.deepEqual(policy[name], ["'self'"], name);
  assert.deepEqual(policy["connect-src"], [
    "'self'",
    "wss://edge.example.org",
    "https://id.example.org",
    "https://sign-in.example.org",
    "https://images.example.org",
  ]);
  assert.deepEqual(policy["img-src"], ["'self'", "data:", "blob:", "https://images.example.org"]);
});

test("an address that would add to the policy is refused, or adds nothing", () => {
  const good = { PAGENOW_ORIGIN: "https://a.example", PAGENOW_ISSUER: "https://b.example", PAGENOW_IMAGES: "https://c.example" };
  for (const name of Object.keys(good)) {
    for (const bad of [undefined, "", "*", "data:text/html,x", "https://x.example; script-src *"]) {
      assert.throws(() => headers({ ...good, [name]: bad }), new RegExp(name), `${name}=${bad}`);
    }
  }
  const policy = headers({ ...good, PAGENOW_IMAGES: "https://c.example/; script-src *" })["Content-Security-Policy"];
  assert.ok(policy.includes("https://c.example; connect-src"), policy);
});
