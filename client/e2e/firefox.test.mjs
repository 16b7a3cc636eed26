// The extension in Firefox: consent, sign-in, a page that friends see, and the reconnect after its background page was ended.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { PATIENCE_MS } from "./browser.mjs";
import { Firefox } from "./firefox.mjs";
import { Person } from "./people.mjs";
import { CLIENT } from "./system.mjs";

test("in Firefox a person consents, signs in, is seen, and is seen again after the background page was ended", async () => {
  const lee = await Person.register("lee", "Lee", "Low");
  const max = await Person.register("max", "Max", "May");
  await lee.befriend(max);
  await max.online();
  const told = async (holds) => {
    const end = Date.now() + PATIENCE_MS;
    while (!max.heard.some(holds)) {
      if (Date.now() > end) throw new Error(JSON.stringify(max.heard.slice(-3)));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  const firefox = await Firefox.open();
  try {
    await firefox.answerPages("github.com", "diary.example.net");
    await firefox.install(join(CLIENT, "firefox"));
    const welcome = await firefox.tab(/^moz-extension:.*tab\.html#\/welcome/);
    await firefox.shows(welcome, "Let friends see the page you are on");
    await firefox.click(welcome, "button", "Start sharing");
    await firefox.allow();
    await firefox.click(welcome, "button", "Sign in");
    const provider = await firefox.tab(/\/authorize\?/);
    await firefox.type(provider, "#name", undefined, "lee");
    await firefox.click(provider, "#sign-in");
    await firefox.shows(welcome, "Max May");

    await firefox.visit("https://github.com/lee", "Lee's page");
    await told(({ type, title }) => type === "update-presence" && title === "Lee's page");
    await firefox.visit("https://diary.example.net/secret", "My diary");
    await told(({ type, url, latestTitle }) => type === "update-presence" && url === "" && latestTitle === "Lee's page");

    await firefox.endBackground();
    await firefox.visit("https://github.com/lee/again", "Lee again");
    await told(({ title }) => title === "Lee again");
    assert.ok(!JSON.stringify(max.heard).includes("diary"));
  } finally {
    max.leave();
    await firefox.close();
  }
});
