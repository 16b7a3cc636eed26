// Answers that it has taken every event that the core posts, and drops them. It stands for the edge in benchmarks of the
// core: the real edge would run on other machines.
//
// Deliberately absent: checking signatures.
//
// node dev/event-sink.mjs PORT

import { createServer } from "node:http";
import { argv } from "node:process";

const sink = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = parts.length === 0 ? { events: [] } : JSON.parse(Buffer.concat(parts).toString());
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ taken: body.events.map(({ id }) => id) }));
  });
});

sink.listen(Number(argv[2]), "127.0.0.1");
