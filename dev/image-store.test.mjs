// Tests the proxy of the image store. It runs as a process in front of a store that returns what it was sent.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";

const ORIGIN = "https://app.example";

let proxy;
let url;
const store = createServer(async (asked, answer) => {
  const chunks = await asked.toArray();
  const { host, "content-type": type } = asked.headers;
  answer.writeHead(asked.url === "/refused" ? 403 : 200, { "Content-Type": "application/json" });
  answer.end(JSON.stringify({ method: asked.method, url: asked.url, host, type, body: Buffer.concat(chunks).toString() }));
});

before(async () => {
  store.listen(0, "127.0.0.1");
  await once(store, "listening");
  const program = fileURLToPath(new URL("image-store.mjs", import.meta.url));
  proxy = spawn(process.execPath, [program, "0", String(store.address().port)], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(proxy.stdout, "data");
  url = String(line).trim().split(" ").at(-1);
});

after(async () => {
  proxy.kill();
  store.close();
});

const put = { method: "PUT", headers: { Origin: ORIGIN, "Content-Type": "image/png" }, body: "a picture" };

test("a browser may PUT an image from any origin", async () => {
  const asked = "content-type,x-amz-acl";
  const headers = { Origin: ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": asked };
  const answer = await fetch(`${url}/images/a.png`, { method: "OPTIONS", headers });
  assert.equal(answer.status, 204);
  assert.equal(answer.headers.get("access-control-allow-origin"), ORIGIN);
  assert.equal(answer.headers.get("access-control-allow-headers"), asked);
  assert.match(answer.headers.get("access-control-allow-methods"), /\bPUT\b/);
});

test("a PUT reaches the store unchanged, and the browser may read the answer", async () => {
  for (const [path, status] of [["/images/a%20b.png?X-Amz-Signature=1", 200], ["/refused", 403]]) {
    const answer = await fetch(url + path, put);
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get("access-control-allow-origin"), ORIGIN);
    const host = new URL(url).host;
    assert.deepEqual(await answer.json(), { method: "PUT", url: path, host, type: "image/png", body: "a picture" });
  }
});

test("while the store does not run, the answer is 503, and the browser may read it", async () => {
  store.closeAllConnections();
  await new Promise((closed) => store.close(closed));
  const answer = await fetch(`${url}/images/a.png`, put);
  assert.equal(answer.status, 503);
  assert.equal(answer.headers.get("access-control-allow-origin"), ORIGIN);
});
