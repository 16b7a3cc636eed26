import { expect, test } from "vitest";

import { SETTLE_MS, Settling, ownTitle } from "../src/worker/front";

const tab = (url: string, title = "") => ({ url, title });

test("the first page is told at once", () => {
  const settling = new Settling();
  expect(settling.see(tab("a"), 0)).toBeUndefined();
  expect(settling.settled).toEqual(tab("a"));
});

test("pages that are in front only for a moment are not told", () => {
  const settling = new Settling();
  settling.see(tab("a"), 0);
  settling.see(tab("b"), 10_000);
  settling.see(tab("c"), 10_500);
  expect(settling.settle(10_000 + SETTLE_MS)).toBe(10_500 + SETTLE_MS);
  expect(settling.settled).toEqual(tab("a"));
  expect(settling.settle(10_500 + SETTLE_MS)).toBeUndefined();
  expect(settling.settled).toEqual(tab("c"));
});

test("a new address is told in time even if its title keeps changing", () => {
  const settling = new Settling();
  settling.see(tab("a"), 0);
  for (let now = 0; now <= SETTLE_MS; now += 100) settling.see(tab("b", `title ${now}`), 10_000 + now);
  settling.settle(10_000 + SETTLE_MS);
  expect(settling.settled?.url).toBe("b");
});

test("a title that blinks is never told, and one that stays is", () => {
  const settling = new Settling();
  settling.see(tab("a", "Inbox"), 0);
  let now = 0;
  for (; now < 60_000; now += 500) {
    settling.see(tab("a", now % 1_000 ? "Inbox" : "(1) New message!"), now);
    settling.settle(now);
  }
  expect(settling.settled).toEqual(tab("a", "Inbox"));
  settling.see(tab("a", "Reading"), now);
  settling.settle(now + SETTLE_MS);
  expect(settling.settled).toEqual(tab("a", "Reading"));
});

test("that no page is in front is told at once", () => {
  const settling = new Settling();
  settling.see(tab("a"), 0);
  expect(settling.see(null, 1)).toBeUndefined();
  expect(settling.settled).toBeNull();
});

test.each([
  ["https://github.com/rust-lang/rust#key=SECRET", "github.com/rust-lang/rust#key=SECRET"],
  ["https://www.github.com/a?token=SECRET", "github.com/a?token=SECRET"],
  ["https://github.com/", "https://github.com"],
  ["https://xn--bcher-kva.example/#SECRET", "bücher.example/#SECRET"],
  ["http://github.com:8080/x#SECRET", "github.com:8080/x#SECRET"],
  ["https://GitHub.com/x", "www.github.com/x"],
])("of %s, the title %s is the browser's own and is not told", (url, title) => {
  expect(ownTitle({ url, title })).toBe("");
});

test.each(["GitHub", "github.com – where the world builds", "reddit.com", "", "Re: github.com/x", "안녕"])("the title %s is the page's own", (title) => {
  expect(ownTitle({ url: "https://github.com/x#SECRET", title })).toBe(title);
});
