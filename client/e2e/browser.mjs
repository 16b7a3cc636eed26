// A real Chromium with the extension, for the end-to-end tests.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env } from "node:process";

import { chromium } from "playwright-core";

import { chromiumId } from "../manifest.mjs";

const CHROMIUM = env.CHROMIUM || "/usr/bin/chromium";
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
/** The longest time to wait for anything that a person would wait for. */
export const PATIENCE_MS = 20_000;

/** The id that Chromium makes from a manifest's key. */
export function extensionId(folder) {
  const { key } = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
  return chromiumId(key);
}

/** One person's browser. */
export class Browser {
  /**
   * @param {{ extension?: string, grants?: boolean, language?: string, dark?: boolean, display?: string }} how
   * `extension` is the folder that the extension is loaded from. With `grants`, the extension has its optional permissions from
   * the start; without it, the browser's question for them stays open, because nobody answers it. `display` is the X display on
   * which the browser is shown; without it, the browser is headless.
   */
  static async open({ extension, grants, language = "en-US", dark = false, display } = {}) {
    const profile = mkdtempSync(join(tmpdir(), "pagenow-browser-"));
    const args = display ? [...ARGUMENTS, "--window-position=0,0", "--window-size=1000,780"] : ["--headless=new", ...ARGUMENTS];
    const browser = new Browser();
    if (extension) {
      browser.id = extensionId(extension);
      args.push(`--disable-extensions-except=${extension}`, `--load-extension=${extension}`);
      const given = grants ? { [browser.id]: { runtime_granted_permissions: { api: ["tabs", "notifications"] } } } : {};
      mkdirSync(join(profile, "Default"));
      writeFileSync(join(profile, "Default", "Preferences"), JSON.stringify({ extensions: { ui: { developer_mode: true }, settings: given } }));
    }
    browser.profile = profile;
    browser.context = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      headless: display === undefined,
      ...(display && { env: { ...env, DISPLAY: display } }),
      args,
      locale: language,
      colorScheme: dark ? "dark" : "light",
      viewport: display ? null : { width: 1024, height: 720 },
    });
    browser.context.setDefaultTimeout(PATIENCE_MS);
    try {
      if (extension) await browser.worker();
    } catch (error) {
      await browser.close();
      throw error;
    }
    return browser;
  }

  async worker() {
    const ours = (worker) => worker.url().startsWith("chrome-extension://");
    return this.context.serviceWorkers().find(ours) ?? (await this.context.waitForEvent("serviceworker", ours));
  }

  /** Opens one of the extension's views in a tab, because Playwright cannot see the real popup. */
  async view(surface = "popup", place = "") {
    this.views = (this.views ?? 0) + 1;
    // The number makes the address differ from that of the tab that the extension opens when it is installed.
    const url = `chrome-extension://${this.id}/${surface}.html?view=${this.views}${place}`;
    const opened = this.context.waitForEvent("page", (page) => page.waitForURL(url).then(() => true, () => false));
    await (await this.worker()).evaluate((url) => chrome.tabs.create({ url }).then(() => undefined), url);
    const page = await opened;
    if (surface === "popup") await page.setViewportSize({ width: 380, height: 600 });
    await page.waitForLoadState();
    return page;
  }

  /** Answers every https address with a small page, whose title the test sets by {@link visit}. */
  async answerPages() {
    this.titles = new Map();
    await this.context.route(/^https:\/\//, (route) => {
      const title = this.titles.get(route.request().url()) ?? "A page";
      return route.fulfill({ contentType: "text/html", body: `<!doctype html><title>${title}</title><p>A page of the open web.` });
    });
  }

  /** Opens an address in a new tab, in front. */
  async visit(url, title) {
    this.titles.set(url, title);
    const page = await this.context.newPage();
    await page.goto(url);
    return page;
  }

  async badge() {
    return (await this.worker()).evaluate(() => chrome.action.getBadgeText({}));
  }

  async badgeBecomes(text) {
    const end = Date.now() + PATIENCE_MS;
    while ((await this.badge()) !== text) {
      if (Date.now() > end) throw new Error(`the badge says ${await this.badge()} instead of ${text}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** The frames that the worker's sockets send from now on. */
  async frames() {
    const sent = [];
    const session = await this.context.browser().newBrowserCDPSession();
    const { targetInfos } = await session.send("Target.getTargets");
    const { targetId } = targetInfos.find(({ type, url }) => type === "service_worker" && url.includes(this.id));
    const { sessionId } = await session.send("Target.attachToTarget", { targetId, flatten: false });
    session.on("Target.receivedMessageFromTarget", ({ message }) => {
      const { method, params } = JSON.parse(message);
      if (method === "Network.webSocketFrameSent") sent.push(params.response.payloadData);
    });
    await session.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id: 1, method: "Network.enable" }) });
    return sent;
  }

  /** Whether one of the extension's files is open anywhere, even where Playwright has no page for it. */
  async hasTarget(file) {
    const session = await this.context.browser().newBrowserCDPSession();
    const { targetInfos } = await session.send("Target.getTargets");
    return targetInfos.some(({ url }) => url.includes(`${this.id}/${file}`));
  }

  /** Ends the extension's worker, as browsers do. */
  async killWorker() {
    const session = await this.context.browser().newBrowserCDPSession();
    const { targetInfos } = await session.send("Target.getTargets");
    const { targetId } = targetInfos.find(({ type, url }) => type === "service_worker" && url.includes(this.id));
    await session.send("Target.closeTarget", { targetId });
  }

  /** Signs in through the provider's page. */
  async signIn(page, name) {
    const [provider] = await Promise.all([this.context.waitForEvent("page"), page.getByRole("button", { name: /sign in|로그인/i }).click()]);
    await chooseAt(provider, name);
  }

  async close() {
    await this.context.close();
    rmSync(this.profile, { recursive: true, force: true });
  }
}

/** Chooses a user on the sign-in page of the development provider. */
export async function chooseAt(provider, name) {
  if (["alice", "bob", "carol"].includes(name)) return provider.click(`#${name}`);
  await provider.fill("#name", name);
  await provider.click("#sign-in");
}
