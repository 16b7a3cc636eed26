// Calls to many objects at once. The friends answer when a test lets them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { callPeers } from "../src/peers.mjs";

/** Friends whose calls wait in `calls`, by name, until the test answers them. */
const friends = () => {
  const calls = new Map();
  const peer = (name) => (message) =>
    new Promise((answer, refuse) => calls.set(name, { message, answer, refuse }));
  return { calls, users: { getByName: (name) => ({ peer: peer(name) }) } };
};

/** Lets every callback run that is ready to run. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;

test("each friend has one outcome, and no call waits for another's answer", async () => {
  const { calls, users } = friends();
  const heard = [];
  const before = timers();
  const all = callPeers(users, "a\nb\nc", "hello", 60_000, (lines) => heard.push(...lines.split("\n")));
  assert.deepEqual([...calls.keys()], ["a", "b", "c"]);
  calls.get("b").answer("from b");
  calls.get("a").refuse(new Error("away"));
  await settle();
  calls.get("c").answer("from c");
  await all;
  assert.deepEqual(heard.sort(), ["0", "1 from b", "2 from c"]);
  assert.ok([...calls.values()].every((call) => call.message === "hello"));
  assert.equal(timers(), before, "a timer left behind would keep the object awake");
});

test("answers that come together are heard together", async () => {
  const { calls, users } = friends();
  const heard = [];
  const all = callPeers(users, "a\nb\nslow", "hello", 60_000, (lines) => heard.push(lines));
  calls.get("a").answer("1");
  calls.get("b").answer("2");
  while (heard.length === 0) await settle();
  assert.deepEqual(heard, ["0 1\n1 2"], "nobody waits for the slow one to hear the quick ones");
  calls.get("slow").answer("3");
  await all;
  assert.deepEqual(heard, ["0 1\n1 2", "2 3"]);
});

test("an answer that takes too long is not waited for, and is ignored when it comes", async () => {
  const { calls, users } = friends();
  const heard = [];
  const before = timers();
  const all = callPeers(users, "slow\nquick", "hello", 150, (lines) => heard.push(...lines.split("\n")));
  calls.get("quick").answer("here");
  await all;
  assert.deepEqual(heard, ["1 here", "0"]);
  calls.get("slow").answer("late");
  await settle();
  assert.deepEqual(heard, ["1 here", "0"]);
  assert.equal(timers(), before);
});

test("friends who cannot be called at all count as not reached", async () => {
  const before = timers();
  const users = {
    getByName: () => {
      throw new Error("no such namespace");
    },
  };
  const heard = [];
  const all = callPeers(users, "a\nb", "hello", 60_000, (lines) => heard.push(lines));
  assert.deepEqual(heard, [], "whoever calls is in the midst of something");
  await all;
  assert.deepEqual(heard, ["0\n1"]);
  assert.equal(timers(), before);
});

test("an error in the function that takes the answers ends the whole call, and leaves no timer", async () => {
  const before = timers();
  const { calls, users } = friends();
  const taking = callPeers(users, "a\nb", "hello", 60_000, () => {
    throw new Error("not taken");
  });
  calls.get("a").answer("here");
  calls.get("b").answer("here");
  await assert.rejects(taking, /not taken/);
  assert.equal(timers(), before);
});
