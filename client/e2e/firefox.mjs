// A real Firefox with the extension, driven by WebDriver BiDi. It has only the functions that the tests need.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env } from "node:process";

import { FIREFOX_ID } from "../manifest.mjs";
import { PATIENCE_MS } from "./browser.mjs";

const FIREFOX = env.FIREFOX || "/usr/bin/firefox-esr";
/** The extension's internal UUID. It is fixed, because Firefox would choose one at random. */
const ORIGIN_ID = "11111111-2222-4333-8444-555555555555";
const PREFERENCES = {
  "extensions.webextensions.uuids": JSON.stringify({ [FIREFOX_ID]: ORIGIN_ID }),
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.page": 0,
  "datareporting.policy.dataSubmissionEnabled": false,
  "app.update.enabled": false,
  "intl.accept_languages": "en-US",
};

export class Firefox {
  #waiting = new Map();
  #sent = 0;

  static async open() {
    const firefox = new Firefox();
    firefox.profile = mkdtempSync(join(tmpdir(), "pagenow-firefox-"));
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
    writeFileSync(join(firefox.profile, "user.js"), lines.join(""));
    const args = ["-headless", "-no-remote", "-profile", firefox.profile, "--remote-debugging-port=0", "-remote-allow-system-access", "about:blank"];
    firefox.process = spawn(FIREFOX, args, { stdio: ["ignore", "ignore", "pipe"] });
    let text = "";
    const address = await new Promise((resolve, reject) => {
      firefox.process.stderr.on("data", (data) => {
        text += data;
        const found = /WebDriver BiDi listening on (ws:\S+)/.exec(text);
        if (found) resolve(found[1]);
      });
      firefox.process.on("exit", (code) => reject(new Error(`Firefox ended with ${code}: ${text}`)));
    });
    firefox.socket = new WebSocket(`${address}/session`);
    await once(firefox.socket, "open");
    firefox.socket.addEventListener("message", ({ data }) => firefox.#hear(JSON.parse(data)));
    await firefox.send("session.new", { capabilities: {} });
    await firefox.send("session.subscribe", { events: ["network.beforeRequestSent"] });
    return firefox;
  }

  #hear({ id, type, result, error, message, method, params }) {
    if (method === "network.beforeRequestSent" && params.isBlocked) return void this.#answer(params.request);
    const asker = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (type === "error") asker?.reject(new Error(`${error}: ${message}`));
    else asker?.resolve(result);
  }

  send(method, params) {
    this.#sent += 1;
    const id = this.#sent;
    this.socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  async install(path) {
    await this.send("webExtension.install", { extensionData: { type: "path", path } });
  }

  /** Answers every address of a host with a small page. */
  async answerPages(...hosts) {
    const urlPatterns = hosts.map((hostname) => ({ type: "pattern", protocol: "https", hostname }));
    await this.send("network.addIntercept", { phases: ["beforeRequestSent"], urlPatterns });
    this.titles = new Map();
  }

  #answer({ request, url }) {
    const value = `<!doctype html><title>${this.titles.get(url) ?? "A page"}</title>`;
    const headers = [{ name: "Content-Type", value: { type: "string", value: "text/html" } }];
    return this.send("network.provideResponse", { request, statusCode: 200, headers, body: { type: "string", value } });
  }

  /** Waits for a tab whose address matches the pattern. */
  async tab(pattern) {
    return eventually(async () => {
      const { contexts } = await this.send("browsingContext.getTree", {});
      return contexts.find(({ url }) => pattern.test(url))?.context;
    }, `a tab of ${pattern}`);
  }

  async visit(url, title) {
    this.titles.set(url, title);
    const { context } = await this.send("browsingContext.create", { type: "tab" });
    await this.send("browsingContext.navigate", { context, url, wait: "complete" });
    return context;
  }

  async evaluate(context, expression) {
    const { result, exceptionDetails } = await this.send("script.evaluate", {
      expression, target: { context }, awaitPromise: true, userActivation: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.value;
  }

  /** Waits until the tab shows the text. */
  shows(context, text) {
    return eventually(async () => (await this.evaluate(context, "document.body.innerText"))?.includes(text), `the text ${text}`);
  }

  async #find(context, selector, text) {
    return eventually(async () => {
      const { nodes } = await this.send("browsingContext.locateNodes", { context, locator: { type: "css", value: selector }, serializationOptions: { maxDomDepth: 0 } });
      for (const node of nodes) {
        const { result } = await this.send("script.callFunction", {
          functionDeclaration: "(node) => node.innerText + (node.labels?.[0]?.innerText ?? '')", arguments: [{ sharedId: node.sharedId }], target: { context }, awaitPromise: false,
        });
        if (text === undefined || result.value.includes(text)) return node.sharedId;
      }
      return undefined;
    }, `${selector} ${text ?? ""}`);
  }

  /** Clicks as a person does. Browsers distinguish this from a click by a script. */
  async click(context, selector, text) {
    const sharedId = await this.#find(context, selector, text);
    const origin = { type: "element", element: { sharedId } };
    const actions = [{ type: "pointerMove", x: 0, y: 0, origin }, { type: "pointerDown", button: 0 }, { type: "pointerUp", button: 0 }];
    await this.send("input.performActions", { context, actions: [{ type: "pointer", id: "mouse", actions }] });
  }

  async type(context, selector, label, text) {
    await this.click(context, selector, label);
    const actions = [...text].flatMap((value) => [{ type: "keyDown", value }, { type: "keyUp", value }]);
    await this.send("input.performActions", { context, actions: [{ type: "key", id: "keys", actions }] });
  }

  /** Runs a script in the browser's own window. */
  async inBrowser(expression) {
    const { contexts } = await this.send("browsingContext.getTree", { "moz:scope": "chrome" });
    return this.evaluate(contexts[0].context, expression);
  }

  /** Answers the browser's question for a permission with yes. */
  allow() {
    return eventually(() => this.inBrowser(`(() => {
      const question = document.getElementById("addon-webext-permissions-notification");
      if (!question?.button || question.hidden) return false;
      question.button.click();
      return true;
    })()`), "the question for a permission");
  }

  /** Ends the extension's background page, as Firefox does after half a minute. */
  async endBackground() {
    await this.inBrowser(`WebExtensionPolicy.getByID(${JSON.stringify(FIREFOX_ID)}).extension.terminateBackground().then(() => true)`);
  }

  async close() {
    this.socket.close();
    this.process.removeAllListeners("exit");
    this.process.kill();
    await once(this.process, "exit");
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function eventually(look, what) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`it does not come: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
