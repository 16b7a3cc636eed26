/**
 * The extension's background worker: the engine on the browser's API. All listeners are added synchronously at the start, so that
 * their events wake the worker.
 */

import { keepAwake } from "../browser";
import { texts } from "../i18n/texts";
import { type Asked, type Language, OPEN_AGAIN, type Pause } from "../scene";
import { Engine } from "./engine";
import { type Tab, ownTitle } from "./front";
import { Onlooker } from "./onlooker";
import type { Notice, Platform } from "./platform";
import { SessionError } from "./session";
import type { Kept, Storage } from "./storage";

const ALARM = "wake";
/** The shortest period that browsers allow for an alarm, in minutes. */
const ALARM_EVERY_MIN = 0.5;
/** Time without input after which the person counts as idle, in seconds. */
const IDLE_AFTER_S = 300;
/** How long the provider's page may stay open. Without a limit, a lost window would block every later sign-in. */
const SIGN_IN_WITHIN_MS = 600_000;

const area = (name: keyof Kept) => (name === "scene" || name === "backOff" ? chrome.storage.session : chrome.storage.local);

const storage: Storage = {
  get: async (name) => (await area(name).get(name))[name] as never,
  set: (name, value) => area(name).set({ [name]: value }),
  remove: async (...names) => {
    await Promise.all(names.map((name) => area(name).remove(name)));
  },
};

const platform: Platform = {
  storage,
  redirect: chrome.identity.getRedirectURL(),
  sharesPages: true,
  authorize: async (url) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new SessionError("unreachable")), SIGN_IN_WITHIN_MS);
    });
    try {
      const returned = await Promise.race([chrome.identity.launchWebAuthFlow({ url, interactive: true }), late]);
      if (returned === undefined) throw new SessionError("refused");
      return returned;
    } catch (error) {
      if (error instanceof SessionError) throw error;
      // Browsers give only a text. It contains one of these if the page could not be shown.
      throw new SessionError(/could not be loaded|only one/i.test(String(error)) ? "unreachable" : "refused");
    } finally {
      clearTimeout(timer);
    }
  },
  endSession: async (url) => {
    await chrome.identity.launchWebAuthFlow({ url, interactive: false }).catch(() => undefined);
    return null;
  },
  keepAwake,
  keepWaking: (on) => {
    if (on) void chrome.alarms.create(ALARM, { periodInMinutes: ALARM_EVERY_MIN });
    else void chrome.alarms.clear(ALARM);
  },
  permitted: () => chrome.permissions.contains({ permissions: ["tabs"] }),
  mayNotify: () => chrome.permissions.contains({ permissions: ["notifications"] }),
  idle: async () => (await chrome.idle.queryState(IDLE_AFTER_S)) !== "active",
  front,
  badge,
  notify: (notice, language) => void notify(notice, language),
};

/** The last page in front that is not one of the extension's own. */
let before: { readonly id: number; readonly url: string } | null = null;

async function front(): Promise<Tab | null> {
  const [tab] = await chrome.tabs.query({ active: true, lastFocusedWindow: true });
  if ((tab?.url || tab?.pendingUrl)?.startsWith(chrome.runtime.getURL(""))) {
    // A person who looks at the extension's page is still on the page before, unless that tab was closed or shows another page.
    const still = before && (await chrome.tabs.get(before.id).catch(() => undefined));
    return still?.url === before?.url && still?.url !== undefined ? titled(still.url, still.title) : null;
  }
  before = !tab?.url || tab.id === undefined ? null : { id: tab.id, url: tab.url };
  return before && tab ? titled(before.url, tab.title) : null;
}

const titled = (url: string, title = ""): Tab => ({ url, title: ownTitle({ url, title }) });

function badge(waiting: number, pause: Pause | null): void {
  const text = pause !== null ? "Ⅱ" : waiting === 0 ? "" : waiting > 99 ? "99+" : String(waiting);
  void chrome.action.setBadgeText({ text });
  void chrome.action.setBadgeBackgroundColor({ color: pause !== null ? "#6b7078" : "#2f6f62" });
}

async function notify({ id, kind, firstName, lastName, text }: Notice, language: Language | null): Promise<void> {
  if (!(await platform.mayNotify())) return;
  const t = texts(language ?? chrome.i18n.getUILanguage());
  const name = t.fullName(firstName, lastName);
  await chrome.notifications.create(id, {
    type: "basic",
    iconUrl: chrome.runtime.getURL("icons/128.png"),
    title: kind === "share" ? t.notifyShare(name) : t.notifyRequest(name),
    message: text,
  });
}

const engine = new Engine(platform, { origin: SITE.origin, issuer: SITE.issuer, clientId: SITE.clientId });

chrome.runtime.onConnect.addListener((port) => {
  const onlooker = new Onlooker(engine, (told) => port.postMessage(told));
  port.onMessage.addListener((asked: Asked) => onlooker.ask(asked));
  port.onDisconnect.addListener(() => onlooker.leave());
  onlooker.look(port.name === OPEN_AGAIN);
});

const frontChanged = () => void engine.frontChanged();
chrome.tabs.onActivated.addListener(frontChanged);
chrome.tabs.onRemoved.addListener(frontChanged);
chrome.tabs.onReplaced.addListener(frontChanged);
chrome.tabs.onUpdated.addListener((_, changed) => {
  if (changed.url !== undefined || changed.title !== undefined || changed.status !== undefined) frontChanged();
});
chrome.windows.onFocusChanged.addListener(frontChanged);
chrome.windows.onRemoved.addListener(frontChanged);

chrome.idle.setDetectionInterval(IDLE_AFTER_S);
chrome.idle.onStateChanged.addListener((state) => {
  void engine.idleChanged(state !== "active");
  // The machine may have slept.
  if (state === "active") void engine.online();
});

chrome.alarms.onAlarm.addListener(() => void engine.wake());
chrome.runtime.onStartup.addListener(() => void engine.wake());
globalThis.addEventListener("online", () => void engine.online());

const permissionsChanged = () => {
  hearClicks();
  void engine.permissionsChanged();
};
chrome.permissions.onAdded.addListener(permissionsChanged);
chrome.permissions.onRemoved.addListener(permissionsChanged);

chrome.commands.onCommand.addListener((command) => {
  if (command === "pause") void engine.togglePause();
});

chrome.runtime.onInstalled.addListener(({ reason }) => {
  if (reason === "install") void chrome.tabs.create({ url: chrome.runtime.getURL("tab.html#/welcome") });
});

function clicked(id: string): void {
  void chrome.notifications.clear(id);
  void chrome.tabs.create({ url: chrome.runtime.getURL("tab.html#/inbox") });
}

/**
 * Listens for clicks on notifications. The API exists only with the permission. A listener that is added twice is called once.
 */
function hearClicks(): void {
  chrome.notifications?.onClicked.addListener(clicked);
}
hearClicks();
