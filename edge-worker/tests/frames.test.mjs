// Which frames cross over to WebAssembly.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesOf, isRead } from "../src/frames.mjs";

const MAX = 8192;

test("text is read up to the bound", () => {
  assert.equal(isRead("", MAX), true);
  assert.equal(isRead("x".repeat(MAX), MAX), true);
  // It may still be too large as UTF-8. The engine, which reads it, checks that.
  assert.equal(isRead("é".repeat(MAX), MAX), true);
});

test("longer text and binary frames are not read, and their size is told", () => {
  for (const [message, bytes] of [
    ["x".repeat(MAX + 1), MAX + 1],
    ["x".repeat(31 * 1024 * 1024), 31 * 1024 * 1024],
    [new ArrayBuffer(3), 3],
    [new ArrayBuffer(9000), 9000],
  ]) {
    assert.equal(isRead(message, MAX), false);
    assert.equal(bytesOf(message), bytes);
  }
});
