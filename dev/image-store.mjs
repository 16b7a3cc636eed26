// A proxy in front of development's image store, s3s-fs. Browsers send a CORS preflight before they PUT an image, and s3s-fs
// does not answer those. The proxy answers them, for any origin. It passes on every other request unchanged, and the store
// checks its signature. Until the store runs, the proxy answers 503. At the first start that takes minutes.
//
// Deliberately absent: storing and signing.
//
// node dev/image-store.mjs PORT STORE_PORT

import { createServer, request } from "node:http";
import { argv } from "node:process";

const [port, storePort] = argv.slice(2).map(Number);

const server = createServer((asked, answer) => {
  answer.setHeader("Access-Control-Allow-Origin", asked.headers.origin ?? "*");
  answer.setHeader("Vary", "Origin");
  if (asked.method === "OPTIONS") {
    answer.writeHead(204, {
      "Access-Control-Allow-Methods": "GET, HEAD, PUT",
      "Access-Control-Allow-Headers": asked.headers["access-control-request-headers"] ?? "",
      "Access-Control-Max-Age": "600",
    });
    answer.end();
    return;
  }
  const { method, url, headers } = asked;
  const passedOn = request({ host: "127.0.0.1", port: storePort, method, path: url, headers }, (stored) => {
    answer.writeHead(stored.statusCode, stored.headers);
    stored.pipe(answer);
  });
  passedOn.on("error", () => {
    if (answer.headersSent) return answer.destroy();
    answer.writeHead(503, { "Content-Type": "text/plain", "Retry-After": "10" });
    answer.end("The image store does not run yet.\n");
  });
  answer.on("close", () => passedOn.destroy());
  asked.pipe(passedOn);
});

server.listen(port, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
