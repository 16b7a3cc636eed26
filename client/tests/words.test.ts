import { expect, test } from "vitest";

import { en } from "../src/i18n/en";
import { ko } from "../src/i18n/ko";
import { initials } from "../src/i18n/names";
import { texts } from "../src/i18n/texts";
import { age, ago } from "../src/i18n/times";
import { clamp, clean, webAddress } from "../src/text";

const MINUTE = 60_000;

test("ages are in whole units, in words of the language", () => {
  expect(age(0, 59_999, "en")).toBeUndefined();
  expect(age(0, 4 * MINUTE, "en")).toBe("4 min");
  expect(age(0, 150 * MINUTE, "en")).toBe("2 hr");
  expect(age(0, 4 * MINUTE, "ko")).toBe("4분");
  // A friend's clock may be ahead.
  expect(age(MINUTE, 0, "en")).toBeUndefined();
  expect(ago(0, 24 * 60 * MINUTE, "en")).toBe("yesterday");
  expect(ago(0, 2 * 60 * MINUTE, "ko")).toBe("2시간 전");
});

test("numbers of people and pages use the right plural form", () => {
  expect([en.mutual(1), en.mutual(2), en.friendCount(1_000)]).toEqual(["1 friend in common", "2 friends in common", "1,000 friends"]);
});

test("names are written in the order of their language", () => {
  expect(en.fullName("Alice", "Archer")).toBe("Alice Archer");
  expect(en.fullName("민준", "김")).toBe("김민준");
  expect(ko.fullName("민준", "김")).toBe("김민준님");
  expect(ko.fullName("Alice", "")).toBe("Alice님");
  expect([initials("Élise", "Martin"), initials("민준", "김"), initials("👩‍💻x", "")]).toEqual(["ÉM", "민준", "👩‍💻"]);
});

test("both languages have the same texts, with the same number of parameters", () => {
  expect(Object.keys(ko)).toEqual(Object.keys(en));
  for (const [name, text] of Object.entries(en)) {
    const other = ko[name as keyof typeof ko];
    expect(typeof other, name).toBe(typeof text);
    if (typeof text === "function") expect((other as () => string).length, name).toBe(text.length);
  }
  expect([texts("ko-KR").tag, texts("kok").tag, texts("de").tag]).toEqual(["ko", "en", "en"]);
});

test("hostile text is cleaned, and shown on one line", () => {
  expect(clean("a\u202Eb\u0000\n\u200Bc\u{E0001}")).toBe("abc");
  expect(clean("half \uD83D of one")).toBe("half \uFFFD of one");
  expect(clean("👩\u200D💻")).toBe("👩\u200D💻");
  expect(clamp("🙂".repeat(300), 200)).toBe("🙂".repeat(200));
});

test("only http and https addresses are opened", () => {
  for (const bad of ["javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd", "chrome://settings", "blob:https://a/b", ""]) {
    expect(webAddress(bad), bad).toBeUndefined();
  }
  expect(webAddress("https://example.com")).toBe("https://example.com/");
});
