import { describe, expect, test } from "vitest";

import vectors from "../src/generated/policy-vectors.json";
import type { ShareMode } from "../src/generated/types";
import { readEntry, readPage, shownPage } from "../src/worker/pages";

describe("pages are judged as the edge judges them", () => {
  test.each(vectors.pages)("$url", ({ url, title, page }) => {
    expect(readPage(url, title) ?? null).toEqual(page ?? null);
  });

  test.each(vectors.entries)("the entry $entry", ({ entry, domain }) => {
    expect(readEntry(entry) ?? null).toBe(domain);
  });

  test.each(vectors.policies)("$mode $allow $deny", ({ mode, allow, deny, shows }) => {
    const rules = { mode: mode as ShareMode, allow, deny };
    const shown = vectors.pages.filter(({ url, title }) => shownPage(rules, url, title)).map(({ url }) => url);
    expect([...new Set(shown)].sort()).toEqual([...new Set(shows)].sort());
  });
});

test("of a mode that is not known, as much is shown as of the one that shows least", () => {
  const rules = { mode: "default_some" as ShareMode, allow: ["github.com"], deny: [] };
  expect(shownPage(rules, "https://github.com/", "")).toBeDefined();
  expect(shownPage(rules, "https://example.com/", "")).toBeUndefined();
});
