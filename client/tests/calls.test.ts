import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import operations from "../src/generated/operations.json";

const SOURCES = join(import.meta.dirname, "../src");

const calls = readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.tsx?$/.test(name) && !name.startsWith("generated"))
  .flatMap((name) => [...readFileSync(join(SOURCES, name), "utf8").matchAll(/"((?:GET|POST|PUT|DELETE) \/[^"]*)"/g)].map(([, call]) => call ?? ""));

test("every call that the client makes is one that the server describes", () => {
  expect(calls.length).toBeGreaterThan(20);
  expect(calls.filter((call) => !operations.includes(call))).toEqual([]);
});

test("the client has the version of the servers", () => {
  const read = (name: string) => readFileSync(join(import.meta.dirname, name), "utf8");
  const [, version] = /^version = "(.*)"$/m.exec(read("../../Cargo.toml")) ?? [];
  expect(JSON.parse(read("../package.json")).version).toBe(version);
});

test("no source loads or runs anything from another origin", () => {
  const texts = readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(tsx?|css)$/.test(name))
    .map((name) => readFileSync(join(SOURCES, name), "utf8"));
  for (const text of texts) {
    expect(text).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML/i);
    expect(text).not.toMatch(/\beval\(|new Function|@import|url\(/);
  }
});
