// Two people, each with the extension in their own browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Browser, chooseAt } from "./browser.mjs";
import { EXTENSION, ORIGIN, restartEdge } from "./system.mjs";

let amy;
let ben;
/** Each person's list of friends, open as a page. */
let amysView;
let bensView;
/** Everything that Amy's extension sends on the live channel. */
let sent;

before(async () => {
  [amy, ben] = await Promise.all([Browser.open({ extension: EXTENSION, grants: true }), Browser.open({ extension: EXTENSION, grants: true })]);
  await Promise.all([amy.answerPages(), ben.answerPages()]);
});

after(async () => {
  await Promise.all([amy?.close(), ben?.close()]);
});

const friend = (view, name) => view.locator(".row", { hasText: name });
const shows = (locator, text) => locator.filter({ hasText: text }).first().waitFor();

test("nothing is stored before the person has answered the question for consent", async () => {
  const page = await amy.view("tab", "#/friends");
  await page.getByRole("heading", { name: "Let friends see the page you are on" }).waitFor();
  const kept = await (await amy.worker()).evaluate(() => chrome.storage.local.get());
  assert.deepEqual(kept, {});
  await page.close();
});

test("both choose to share, sign in through the provider's page, and register", async () => {
  const join = async (browser, id, first, last) => {
    const page = await browser.view("tab", "#/welcome");
    await page.getByRole("button", { name: "Start sharing" }).click();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    await browser.signIn(page, id);
    await page.getByLabel("First name").fill(first);
    await page.getByLabel("Last name").fill(last);
    await page.getByLabel(/13 or older/).check();
    await page.getByRole("button", { name: "Create account" }).click();
    await page.getByRole("heading", { name: "Bring a friend" }).waitFor();
    return page;
  };
  [amysView, bensView] = await Promise.all([join(amy, "amy", "Amy", "Adams"), join(ben, "ben", "Ben", "Brown")]);
  sent = await amy.frames();
});

test("if the person closes the sign-in window, the view says so, and sign-in can be tried again", async () => {
  const carl = await Browser.open({ extension: EXTENSION, grants: true });
  try {
    const page = await carl.view("tab", "#/welcome");
    await page.getByRole("button", { name: "Only see friends" }).click();
    const signIn = page.getByRole("button", { name: "Sign in" });
    const [provider] = await Promise.all([carl.context.waitForEvent("page"), signIn.click()]);
    await provider.close();
    await shows(page.getByRole("status"), "Sign-in was closed. Try again.");
    await carl.signIn(page, "carl");
    await page.getByLabel("First name").waitFor();
  } finally {
    await carl.close();
  }
});

test("they become friends through the screens", async () => {
  await bensView.getByRole("button", { name: "Search" }).click();
  await bensView.getByRole("searchbox").fill("amy ad");
  await friend(bensView, "Amy Adams").getByRole("button", { name: "Add friend" }).click();
  await amysView.getByRole("link", { name: /Inbox 1/ }).click();
  await friend(amysView, "Ben Brown").getByRole("button", { name: "Accept" }).click();
  await amysView.getByRole("link", { name: "Friends" }).click();
  await friend(amysView, "Ben Brown").waitFor();
  await bensView.goto(bensView.url().replace(/#.*/, "#/friends"));
  await friend(bensView, "Amy Adams").waitFor();
});

test("a page that one opens or switches to is seen by the other", async () => {
  const first = await amy.visit("https://github.com/amy/project", "Amy's project");
  await shows(friend(bensView, "Amy Adams"), /github\.com.*Amy's project/);
  await amy.visit("https://en.wikipedia.org/wiki/Aurora", "Aurora");
  await shows(friend(bensView, "Amy Adams"), /wikipedia\.org.*Aurora/);
  await first.bringToFront();
  await shows(friend(bensView, "Amy Adams"), /github\.com.*Amy's project/);
  const link = friend(bensView, "Amy Adams").getByRole("link").first();
  assert.equal(await link.getAttribute("href"), "https://github.com/amy/project");
  assert.equal(await link.getAttribute("rel"), "noopener noreferrer");
});

test("a page outside the rules is hidden, and nothing of it leaves the browser", async () => {
  const page = await amy.visit("https://diary.example.net/secret-place", "My secret diary");
  await shows(friend(bensView, "Amy Adams"), "Page hidden · last: github.com");
  await page.evaluate(() => {
    document.title = "Another secret";
    history.pushState(null, "", "/secret-two");
  });
  await shows(amysView.getByTestId("own"), "example.net is not shared.");
  assert.ok(sent.some((frame) => frame.includes("github.com/amy/project")));
  assert.ok(!sent.some((frame) => /secret|diary|example\.net/.test(frame)), sent.join("\n"));
});

test("the switch shares the site in front, and hides it again", async () => {
  const popup = await amy.view();
  const share = popup.getByRole("switch", { name: "Share all of example.net" });
  await share.click();
  await shows(friend(bensView, "Amy Adams"), /example\.net.*Another secret/);
  await share.click();
  await shows(friend(bensView, "Amy Adams"), "Page hidden");
  await popup.close();
});

test("a pause hides the page until the person resumes, and the badge shows it", async () => {
  await amy.visit("https://github.com/amy/project", "Amy's project");
  await shows(friend(bensView, "Amy Adams"), /Amy's project/);
  await amysView.getByRole("button", { name: "Pause" }).click();
  await amysView.getByRole("button", { name: "For 1 hour" }).click();
  await shows(friend(bensView, "Amy Adams"), "Page hidden");
  await shows(amysView.getByTestId("own"), /Paused.*until/);
  assert.equal(await amy.badge(), "Ⅱ");
  // The pause survives the end of the worker.
  await amy.killWorker();
  await amy.visit("https://github.com/amy/other", "Another page");
  await shows(amysView.getByTestId("own"), /Paused.*until/);
  await amysView.getByRole("button", { name: "Resume" }).click();
  await shows(friend(bensView, "Amy Adams"), /github\.com/);
  assert.equal(await amy.badge(), "");
});

test("a hotkey pauses and resumes", async () => {
  const press = async () => (await amy.worker()).evaluate(() => chrome.commands.onCommand.dispatch("pause"));
  await press();
  await shows(friend(bensView, "Amy Adams"), "Page hidden");
  await amy.badgeBecomes("Ⅱ");
  await press();
  await shows(friend(bensView, "Amy Adams"), /github\.com/);
  await amy.badgeBecomes("");
});

test("a person who leaves the device is idle, and is back when they touch it", async () => {
  const device = async (state) => (await amy.worker()).evaluate((state) => chrome.idle.onStateChanged.dispatch(state), state);
  await device("idle");
  await friend(bensView, "Amy Adams").and(bensView.locator(".idle")).waitFor();
  await device("active");
  await friend(bensView, "Amy Adams").and(bensView.locator(".sharing")).waitFor();
});

test("the list stays open beside pages", async () => {
  const popup = await amy.view("popup", "#/me");
  await Promise.all([popup.waitForEvent("close"), popup.getByRole("button", { name: "Keep open" }).click()]);
  assert.ok(await amy.hasTarget("panel.html"));
});

test("an invisible person looks offline to friends, and sees that they do", async () => {
  await amysView.getByRole("link", { name: "Me" }).click();
  const invisible = amysView.getByRole("switch", { name: /Invisible/ });
  await invisible.click();
  await friend(bensView, "Amy Adams").and(bensView.locator(".offline")).waitFor();
  await amysView.getByRole("link", { name: "Friends" }).click();
  await shows(amysView.getByTestId("own"), "Invisible");
  await amysView.getByRole("link", { name: "Me" }).click();
  await invisible.click();
  await friend(bensView, "Amy Adams").and(bensView.locator(".sharing")).waitFor();
  await amysView.getByRole("link", { name: "Friends" }).click();
});

test("a page that was sent is announced once, and when it is read on the web page, every badge is cleared", async () => {
  const announced = async () => (await amy.worker()).evaluate(() => chrome.notifications.getAll().then((all) => Object.keys(all).length));
  await amysView.getByRole("link", { name: "Me" }).click();
  await amysView.getByRole("switch", { name: /Notifications/ }).click();
  await amysView.getByRole("switch", { name: /Notifications/, checked: true }).waitFor();
  await amysView.getByRole("link", { name: "Friends" }).click();
  await bensView.goto(bensView.url().replace(/#.*/, "#/share"));
  await bensView.getByLabel("Address").fill("https://lwn.net/Articles/1/");
  await bensView.getByLabel("Title").fill("A good article");
  await bensView.getByLabel("To").selectOption({ label: "Amy Adams" });
  await bensView.getByRole("button", { name: "Send" }).click();
  await shows(bensView.locator(".row"), /A good article.*to Amy Adams · not opened yet/);
  await amy.badgeBecomes("1");
  assert.equal(await announced(), 1);
  await (await amy.worker()).evaluate(async () => {
    for (const id of Object.keys(await chrome.notifications.getAll())) await chrome.notifications.clear(id);
  });
  await amy.killWorker();
  await amy.visit("https://github.com/amy/while-unread", "While unread");
  await shows(friend(amysView, "Ben Brown"), /./);
  await amy.badgeBecomes("1");
  assert.equal(await announced(), 0, "what was announced is announced again");

  const web = await Browser.open();
  try {
    await web.answerPages();
    const page = await web.context.newPage();
    await page.goto(`${ORIGIN}/app/`);
    await page.getByRole("button", { name: "Sign in" }).click();
    await chooseAt(page, "amy");
    await page.getByRole("link", { name: /Inbox 1/ }).click();
    await shows(page.locator(".row.unread"), "A good article");
    const [opened] = await Promise.all([web.context.waitForEvent("page"), page.getByRole("link", { name: /A good article/ }).click()]);
    await opened.waitForURL("https://lwn.net/Articles/1/");
    await page.locator(".row:not(.unread)", { hasText: "A good article" }).waitFor();
    await amy.badgeBecomes("");
  } finally {
    await web.close();
  }
  await bensView.reload();
  await shows(bensView.locator(".row"), /A good article.*to Amy Adams · opened/);
  await bensView.getByRole("link", { name: "Friends" }).click();
});

test("the client reconnects by itself after the end of its worker, and after a restart of the edge", async () => {
  await amy.killWorker();
  await amy.visit("https://github.com/amy/after-the-worker", "After the worker");
  await shows(friend(bensView, "Amy Adams"), /After the worker/);
  await restartEdge();
  await amy.visit("https://github.com/amy/after-the-edge", "After the edge");
  await shows(friend(bensView, "Amy Adams"), /After the edge/);
});

test("a person who closes the page, the tab or the browser is not seen on the page any more", async () => {
  const page = await amy.visit("https://github.com/amy/closing", "Closing");
  await shows(friend(bensView, "Amy Adams"), /Closing/);
  await page.close();
  await friend(bensView, "Amy Adams").filter({ hasNotText: "Closing" }).waitFor();
});

test("signing out ends the presence at once", async () => {
  await amysView.goto(amysView.url().replace(/#.*/, "#/me/account"));
  await amysView.getByRole("button", { name: "Sign out" }).click();
  await amysView.getByRole("heading", { name: "See what friends are reading" }).waitFor();
  await friend(bensView, "Amy Adams").and(bensView.locator(".offline")).waitFor();
  const kept = await (await amy.worker()).evaluate(async () => ({ ...(await chrome.storage.local.get()), ...(await chrome.storage.session.get()) }));
  assert.deepEqual(Object.keys(kept).sort(), ["consent", "preferences"]);
});
