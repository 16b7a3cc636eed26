// Which frames cross over to WebAssembly.
import assert from "node:assert/strict";
import { test } from "node:test";
import { handFrame } from "../src/frames.mjs";

const handed = (message) => {
  const calls = [];
  handFrame(
    message,
    8192,
    (text) => calls.push(["read", text]),
    (bytes) => calls.push(["refused", bytes]),
  );
  assert.equal(calls.length, 1);
  return calls[0];
};

test("text is read up to the bound", () => {
  assert.deepEqual(handed(""), ["read", ""]);
  assert.deepEqual(handed("x".repeat(8192)), ["read", "x".repeat(8192)]);
  // It may still be too large as UTF-8, which is for whoever reads it to see.
  assert.equal(handed("é".repeat(8192))[0], "read");
});

test("of longer text and of binary frames, only the size is told", () => {
  assert.deepEqual(handed("x".repeat(8193)), ["refused", 8193]);
  assert.deepEqual(handed("x".repeat(31 * 1024 * 1024)), ["refused", 31 * 1024 * 1024]);
  assert.deepEqual(handed(new ArrayBuffer(3)), ["refused", 3]);
  assert.deepEqual(handed(new ArrayBuffer(9000)), ["refused", 9000]);
});
