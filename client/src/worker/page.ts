/** The web page's worker: the engine in a SharedWorker, so that all tabs of the page have one socket. */

import { type Asked, STILL_HERE_MS, type Told } from "../scene";
import { Engine } from "./engine";
import type { Platform } from "./platform";
import { SessionError } from "./session";
import type { Kept, Storage } from "./storage";

const DATABASE = "pagenow";
const STORE = "kept";

/** One request to the page's own database. */
async function request<T>(mode: IDBTransactionMode, run: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await (opened ??= open());
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

/** What is drawn is kept by the worker alone, and goes with it. */
let scene: Kept["scene"] | undefined;

const storage: Storage = {
  get: (name) => (name === "scene" ? Promise.resolve(scene as never) : request("readonly", (store) => store.get(name))),
  set: async (name, value) => {
    if (name === "scene") scene = value as Kept["scene"];
    else await request("readwrite", (store) => store.put(value, name));
  },
  remove: async (...names) => {
    for (const name of names) {
      if (name === "scene") scene = undefined;
      else await request("readwrite", (store) => store.delete(name));
    }
  },
};

let waking: ReturnType<typeof setInterval> | undefined;
const WAKE_EVERY_MS = 30_000;

const platform: Platform = {
  storage,
  redirect: new URL("./", globalThis.location.href).href,
  sharesPages: false,
  // A page is sent to the provider and back instead.
  authorize: () => Promise.reject(new SessionError("unreachable")),
  endSession: (address) => Promise.resolve(address),
  keepAwake: () => undefined,
  // The worker lives as long as a page looks on, and its timers with it.
  keepWaking: (on) => {
    clearInterval(waking);
    waking = on ? setInterval(() => void engine.wake(), WAKE_EVERY_MS) : undefined;
  },
  permitted: () => Promise.resolve(false),
  front: () => Promise.resolve(null),
  badge: () => undefined,
  notify: () => undefined,
};

const engine = new Engine(platform, { origin: SITE.origin, issuer: SITE.issuer, clientId: SITE.clientId });

function connect(port: MessagePort): void {
  const view = { tell: (told: Told) => port.postMessage(told) };
  let leave: (() => void) | undefined;
  let gone: ReturnType<typeof setTimeout> | undefined;
  const stay = () => {
    clearTimeout(gone);
    // Browsers slow the timers of pages in the background down to one a minute.
    gone = setTimeout(() => leave?.(), 6 * STILL_HERE_MS);
  };
  port.onmessage = ({ data }: MessageEvent<Asked | "here" | "bye">) => {
    if (data === "bye") return leave?.();
    stay();
    if (data !== "here") void engine.ask(view, data);
  };
  stay();
  void engine.look(view).then((how) => {
    leave = how;
  });
}

globalThis.addEventListener("online", () => void engine.online());
(globalThis as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = ({ ports: [port] }) => {
  if (port) connect(port);
};
