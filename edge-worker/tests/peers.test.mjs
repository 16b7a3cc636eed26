// Calls to many objects at once, against friends that answer when a test lets them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { callPeers } from "../src/peers.mjs";

/** Friends whose calls wait in `calls`, by name, for the test to settle. */
const friends = () => {
  const calls = new Map();
  const peer = (name) => (message) =>
    new Promise((answer, refuse) => calls.set(name, { message, answer, refuse }));
  return { calls, users: { getByName: (name) => ({ peer: peer(name) }) } };
};

/** Lets everything happen that waits for nothing but its turn. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;

test("each friend has one outcome, and no more calls are under way than allowed", async () => {
  const { calls, users } = friends();
  const heard = [];
  const before = timers();
  const all = callPeers(users, "a\nb\nc", "hello", 60_000, 2, (lines) => heard.push(...lines.split("\n")));
  assert.deepEqual([...calls.keys()], ["a", "b"]);
  calls.get("b").answer("from b");
  await settle();
  assert.deepEqual([...calls.keys()], ["a", "b", "c"]);
  calls.get("a").refuse(new Error("away"));
  calls.get("c").answer("from c");
  await all;
  assert.deepEqual(heard.sort(), ["0", "1 from b", "2 from c"]);
  assert.ok([...calls.values()].every((call) => call.message === "hello"));
  assert.equal(timers(), before, "a timer left behind would keep the object awake");
});

test("who takes too long has failed, and what they answer after that is not heard", async () => {
  const { calls, users } = friends();
  const heard = [];
  const all = callPeers(users, "slow\nquick", "hello", 80, 2, (lines) => heard.push(...lines.split("\n")));
  calls.get("quick").answer("here");
  await all;
  assert.deepEqual(heard, ["1 here", "0"], "nobody waits for the slow one to hear the quick one");
  calls.get("slow").answer("late");
  await settle();
  assert.equal(heard.length, 2);
});

test("a fault on the way ends the whole, and leaves no timer", async () => {
  const before = timers();
  const users = {
    getByName: () => {
      throw new Error("no such namespace");
    },
  };
  await assert.rejects(callPeers(users, "a", "hello", 60_000, 2, () => assert.fail("nothing came of it")));
  const { calls, users: good } = friends();
  const taking = callPeers(good, "a", "hello", 60_000, 2, () => {
    throw new Error("not taken");
  });
  calls.get("a").answer("here");
  await assert.rejects(taking, /not taken/);
  assert.equal(timers(), before);
});
