// Every screen, in both languages and themes. axe must find no serious barrier for people who cannot see or use a pointer, and a
// picture of the screen is made.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Browser, chooseAt } from "./browser.mjs";
import { Person } from "./people.mjs";
import { EXTENSION, ORIGIN, PICTURES } from "./system.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const HOSTILE = "‮moc.live‬ <img src=x onerror=alert(1)> You are now friends " + "🙂".repeat(100);

const people = [];
let owner;

before(async () => {
  if (PICTURES) mkdirSync(PICTURES, { recursive: true });
  owner = await Person.register("alice", "Alice", "Archer");
  const made = await Promise.all(
    [
      ["bob", "Bob", "Builder"], ["carol", "Carol", "Nguyen"], ["dana", "Dana", "Kowalski"], ["elise", "Élise", "Martin"],
      ["seoyeon", "서연", "김"], ["mallory", "Mallory", "O’Neil"], ["femi", "Femi", "Okafor"], ["hana", "Hana", "Sato"],
      ["minjun", "민준", "이"],
    ].map(([id, first, last]) => Person.register(id, first, last)),
  );
  people.push(...made);
  const [bob, carol, dana, elise, seoyeon, mallory, femi, hana, minjun] = made;
  for (const friend of [bob, carol, dana, elise, seoyeon, mallory, femi]) await owner.befriend(friend);
  for (const other of [carol, dana, femi]) await hana.befriend(other);
  await hana.ask(owner);
  await owner.ask(minjun);
  await mallory.shareAll();
  await femi.online();
  femi.leave();
  await bob.online("https://github.com/rust-lang/rust", "rust-lang/rust: Empowering everyone to build reliable software");
  await carol.online("https://en.wikipedia.org/wiki/Aurora", "Aurora – Wikipedia");
  await dana.online("https://developer.mozilla.org/", "MDN");
  dana.socket.send(JSON.stringify({ action: "update-presence", url: "https://bank.example.net/", title: "My account" }));
  await elise.online("https://news.ycombinator.com/", "Show HN: A quiet way to share what you read", { idle: true });
  await seoyeon.online("https://www.naver.com/", "오늘의 날씨: 전국 대체로 맑음");
  await mallory.online("https://xn--80ak6aa92e.com/", HOSTILE);
  await bob.call("POST", "/notifications/share/personal", { url: "https://lwn.net/Articles/1/", title: "An introduction to lockless algorithms", sent_to: "alice" });
  await elise.call("POST", "/notifications/share", { url: "https://en.wikipedia.org/wiki/Pont_Valentr%C3%A9", title: "Pont Valentré" });
  await mallory.call("POST", "/notifications/share/personal", { url: "https://evil.test/", title: HOSTILE, sent_to: "alice" });
  const old = await carol.call("POST", "/notifications/share/personal", { url: "https://github.com/cloudflare/workerd", title: "cloudflare/workerd", sent_to: "alice" });
  await owner.call("POST", "/notifications/share/read", [{ event_id: old }]);
  await owner.call("POST", "/notifications/share", { url: "https://arxiv.org/abs/1706.03762", title: "Attention Is All You Need" });
  const now = await bob.call("GET", "/users/me");
  await bob.call("PUT", "/users/me", { ...now, description: "I build things.\nAsk me about cranes.", work: "Builder", work_public: true, location: "Lagos", location_public: true });
});

after(() => people.forEach((person) => person.leave()));

/** The barriers that axe rates as serious or critical. */
async function faults(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(" | ")}`);
}

const open = (name) => async (page) => page.getByRole("button", { name }).first().click();
/** Each screen: its name, its place, and what the test does there before it looks. */
const SCREENS = [
  ["friends", "#/friends"],
  ["friend-menu", "#/friends", async (page) => page.locator("[data-user=carol] .icon").click()],
  ["remove-friend", "#/friends", async (page) => {
    await page.locator("[data-user=carol] .icon").click();
    await page.locator(".menu button").nth(2).click();
  }],
  ["pause", "#/friends", open(/^(Pause|일시 중지)$/)],
  ["inbox", "#/inbox"],
  ["me", "#/me"],
  ["would-show", "#/me", async (page) => {
    await page.getByLabel(/Would this|이 페이지가/).fill("docs.google.com");
    await page.locator(".card .note").filter({ hasText: "google.com" }).waitFor();
    await page.locator(".card .note").scrollIntoViewIfNeeded();
  }],
  ["preferences", "#/me", open(/Language and theme|언어와 테마/)],
  ["search", "#/search", async (page) => {
    await page.getByRole("searchbox").fill("a");
    await page.locator("[data-user=hana]").waitFor();
  }],
  ["profile", "#/user/bob"],
  ["share", "#/share/bob"],
  ["edit-profile", "#/me/profile"],
  ["account", "#/me/account"],
  ["delete-account", "#/me/account", open(/Delete account|계정 삭제/)],
  ["blocked", "#/me/blocked"],
];

const LOCALES = { en: "en-US", ko: "ko-KR" };

/** Checks a screen as it is now, in both themes. */
const looker = (t, language) => (page, name) => t.test(name, async () => {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    if (PICTURES) await page.screenshot({ path: join(PICTURES, `${name}-${language}-${colorScheme}.png`), animations: "disabled" });
    assert.deepEqual(await faults(page), [], colorScheme);
  }
});

for (const language of ["en", "ko"]) {
  test(`screens in ${language}`, async (t) => {
    const browser = await Browser.open({ extension: EXTENSION, grants: true, language: LOCALES[language] });
    const look = looker(t, language);
    try {
      await browser.answerPages();
      const popup = await browser.view("popup");
      await popup.getByRole("link", { name: /Get started|시작하기/ }).waitFor();
      await look(popup, "get-started");
      const tab = await browser.view("tab", "#/welcome");
      await look(tab, "welcome");
      await tab.getByRole("button", { name: /Start sharing|공유 시작/ }).click();
      await tab.getByRole("button", { name: /Sign in|로그인/ }).waitFor();
      await look(tab, "sign-in");
      await browser.signIn(tab, "newcomer");
      await tab.getByRole("button", { name: /Create account|계정 만들기/ }).waitFor();
      await look(tab, "register");
      await tab.getByRole("button", { name: /Sign out|로그아웃/ }).click();
      await browser.signIn(tab, "alice");
      await tab.locator("[data-user=carol]").waitFor();
      await browser.visit("https://github.com/rust-lang/rust", "rust-lang/rust: Empowering everyone to build reliable software");
      await tab.getByTestId("own").filter({ hasText: "github.com" }).waitFor();
      await look(tab, "tab");
      for (const [name, place, act] of SCREENS) {
        await popup.goto(popup.url().replace(/#.*|$/, place));
        await popup.reload();
        if (place === "#/friends") await popup.getByTestId("own").filter({ hasText: "github.com" }).waitFor();
        await popup.waitForFunction(() => document.querySelector("#root .tab, #root .screen") && !/Loading…|불러오는/.test(document.body.innerText));
        await act?.(popup);
        await look(popup, name);
      }
    } finally {
      await browser.close();
    }
  });

  test(`what is wrong, as the screens show it in ${language}`, async (t) => {
    const browser = await Browser.open({ language: LOCALES[language] });
    const look = looker(t, language);
    try {
      // The worker's calls and its socket can be made to fail where it runs in the page.
      await browser.context.addInitScript(() => delete globalThis.SharedWorker);
      let socket;
      await browser.context.routeWebSocket(/\/ws$/, (client) => {
        const server = client.connectToServer();
        server.onMessage((text) => client.send(text));
        client.onMessage((text) => server.send(text));
        socket = client;
      });
      const page = await browser.context.newPage();
      await page.setViewportSize({ width: 720, height: 640 });
      await page.goto(`${ORIGIN}/app/`);
      await page.getByRole("button", { name: /Sign in|로그인/ }).click();
      await chooseAt(page, "alice");
      await page.locator("[data-user=carol]").waitFor();
      await browser.context.route(/\/friendship\/blocks/, (route) => route.abort());
      await page.goto(`${ORIGIN}/app/#/me/blocked`);
      await page.getByRole("button", { name: /Try again|다시 시도/ }).waitFor();
      await look(page, "failed");

      await page.goto(`${ORIGIN}/app/#/friends`);
      // Too fast: then at least a minute passes before the next attempt.
      await socket.close({ code: 4429 });
      await page.getByRole("button", { name: /Try now|지금/ }).waitFor();
      await look(page, "away");

      const broken = await browser.context.newPage();
      await broken.addInitScript(() => {
        indexedDB.open = () => { throw new Error("no storage here"); };
      });
      await broken.goto(`${ORIGIN}/app/`);
      await broken.getByRole("alert").waitFor();
      await look(broken, "broken");
    } finally {
      await browser.close();
    }
  });
}
