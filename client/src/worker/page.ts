/** The web page's worker: the engine in a SharedWorker, so that all tabs of the page have one socket. */

import { type Asked, STILL_HERE_MS } from "../scene";
import { Engine } from "./engine";
import { Onlooker } from "./onlooker";
import type { Platform } from "./platform";
import { SessionError } from "./session";
import type { Kept, Storage } from "./storage";

const DATABASE = "pagenow";
const STORE = "kept";

/** One request to the page's own database. */
async function request<T>(mode: IDBTransactionMode, run: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  opened ??= open();
  // If opening failed, the next request tries again.
  opened.catch(() => (opened = undefined));
  const database = await opened;
  return settled(run(database.transaction(STORE, mode).objectStore(STORE)));
}

let opened: Promise<IDBDatabase> | undefined;

function open(): Promise<IDBDatabase> {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  return settled(opening);
}

function settled<T>(pending: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    pending.onsuccess = () => resolve(pending.result);
    pending.onerror = () => reject(pending.error);
  });
}

/** Whether a value must not outlive the browser. The page does not store such values at all. */
const passing = (name: keyof Kept) => name === "scene" || name === "backOff";

const storage: Storage = {
  get: async (name) => (passing(name) ? undefined : request("readonly", (store) => store.get(name))),
  set: async (name, value) => {
    if (!passing(name)) await request("readwrite", (store) => store.put(value, name));
  },
  remove: async (...names) => {
    for (const name of names) if (!passing(name)) await request("readwrite", (store) => store.delete(name));
  },
};

let waking: ReturnType<typeof setInterval> | undefined;
const WAKE_EVERY_MS = 30_000;

const platform: Platform = {
  storage,
  redirect: new URL("./", globalThis.location.href).href,
  sharesPages: false,
  // Not used: the page itself visits the provider and comes back.
  authorize: () => Promise.reject(new SessionError("unreachable")),
  endSession: (address) => Promise.resolve(address),
  keepAwake: () => undefined,
  // A timer is enough: the worker lives as long as a page is open.
  keepWaking: (on) => {
    clearInterval(waking);
    waking = on ? setInterval(() => void engine.wake(), WAKE_EVERY_MS) : undefined;
  },
  permitted: () => Promise.resolve(false),
  mayNotify: () => Promise.resolve(false),
  idle: () => Promise.resolve(false),
  front: () => Promise.resolve(null),
  badge: () => undefined,
  notify: () => undefined,
};

const engine = new Engine(platform, { origin: SITE.origin, issuer: SITE.issuer, clientId: SITE.clientId });

function connect(port: MessagePort): void {
  const onlooker = new Onlooker(engine, (told) => port.postMessage(told));
  let gone: ReturnType<typeof setTimeout> | undefined;
  port.onmessage = ({ data }: MessageEvent<Asked | "here" | "bye">) => {
    clearTimeout(gone);
    if (data === "bye") return onlooker.leave();
    // Browsers slow the timers of background pages down to one call a minute, and stop the timers of a frozen page. A page that
    // was taken for gone is added again when it says that it is here.
    gone = setTimeout(() => onlooker.leave(), 6 * STILL_HERE_MS);
    onlooker.look();
    if (data !== "here") onlooker.ask(data);
  };
}

globalThis.addEventListener("online", () => void engine.online());
(globalThis as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = ({ ports: [port] }) => {
  if (port) connect(port);
};
