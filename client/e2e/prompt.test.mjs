// The browser's own question for the permission, in a Chromium with a window. The test has an X display of its own, and answers
// by keys.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Browser, PATIENCE_MS } from "./browser.mjs";
import { EXTENSION } from "./system.mjs";

/** Time before an answer. Chromium ignores an answer that comes at once, because it may have been meant for something else. */
const ANSWER_AGAIN_MS = 1_500;
/** Time without a change after which the screen counts as still. */
const AT_REST_MS = 500;

/** A virtual X display, which chooses its own number. */
async function openDisplay() {
  const folder = mkdtempSync(join(tmpdir(), "pagenow-display-"));
  const how = ["-displayfd", "3", "-screen", "0", "1024x800x24", "-fbdir", folder, "-nolisten", "tcp"];
  const server = spawn("Xvfb", how, { stdio: ["ignore", "ignore", "ignore", "pipe"] });
  const [number] = await Promise.race([
    once(server.stdio[3], "data"),
    once(server, "error").then(([error]) => Promise.reject(error)),
    once(server, "exit").then(([code]) => Promise.reject(new Error(`Xvfb ended with ${code}`))),
  ]);
  const name = `:${String(number).trim()}`;
  const picture = () => readFileSync(join(folder, "Xvfb_screen0"));
  return {
    name,
    /** Waits until nothing on the display changes any more. */
    rest: async () => {
      const end = Date.now() + PATIENCE_MS;
      let last = picture();
      for (let since = Date.now(); Date.now() - since < AT_REST_MS; ) {
        if (Date.now() > end) throw new Error("the display does not come to rest");
        await new Promise((resolve) => setTimeout(resolve, 50));
        const now = picture();
        if (!now.equals(last)) [last, since] = [now, Date.now()];
      }
    },
    /** The colour of a point, from the X server's picture of the screen, which is in the format of xwd. */
    colour: (x, y) => {
      const drawn = picture();
      const [size, colours, line] = [0, 19, 12].map((word) => drawn.readUInt32BE(word * 4));
      return drawn.readUInt32LE(size + colours * 12 + y * line + x * 4) & 0xff_ff_ff;
    },
    press: (...keys) => execFileSync("xdotool", ["key", ...keys], { env: { ...process.env, DISPLAY: name } }),
    close: () => {
      server.kill();
      rmSync(folder, { recursive: true });
    },
  };
}

async function until(holds, within = PATIENCE_MS) {
  const end = Date.now() + within;
  while (!(await holds())) {
    if (Date.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return true;
}

test("the browser asks for the permission: no shares nothing, and yes gives the permission", async () => {
  const display = await openDisplay();
  const browser = await Browser.open({ extension: EXTENSION, display: display.name });
  try {
    const worker = await browser.worker();
    const may = () => worker.evaluate(() => chrome.permissions.contains({ permissions: ["tabs"] }));
    const page = await browser.view("tab", "#/welcome");
    const start = page.getByRole("button", { name: "Start sharing" });
    const refused = page.getByRole("status").filter({ hasText: "nothing is shared" }).first();
    await page.bringToFront();
    await start.waitFor();
    const ground = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const light = ground.match(/\d+/g).slice(0, 3).reduce((colour, part) => colour * 256 + Number(part), 0);
    // This corner of the page is darker while a question is open.
    const isAsked = () => display.colour(8, 760) !== light;
    assert.ok(await until(() => !isAsked()), "the page is not to be seen");

    await start.click();
    assert.ok(await until(isAsked), "nothing is asked");
    for (let tries = 0; tries < 5 && !(await refused.isVisible()); tries += 1) {
      display.press("Escape");
      await until(() => refused.isVisible(), ANSWER_AGAIN_MS);
    }
    await refused.waitFor();
    assert.ok(await until(() => !isAsked()), "the question stays");
    assert.equal(await may(), false);
    assert.deepEqual(await worker.evaluate(() => chrome.storage.local.get()), {});

    await start.click();
    assert.ok(await until(isAsked), "nothing is asked the second time");
    // The focus is on "No" at first.
    await display.rest();
    display.press("Tab");
    await display.rest();
    for (let tries = 0; tries < 5 && !(await may()); tries += 1) {
      display.press("Return");
      await until(may, ANSWER_AGAIN_MS);
    }
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    assert.equal(await may(), true);
    const { consent } = await worker.evaluate(() => chrome.storage.local.get());
    assert.equal(consent.choice, "share");
  } finally {
    await browser.close();
    display.close();
  }
});
