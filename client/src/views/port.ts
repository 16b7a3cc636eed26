/** The views' side of the port: the scene as the worker tells it, and the actions that views ask for. */

import { computed, signal } from "@preact/signals";

import { texts } from "../i18n/texts";
import {
  type ActionName,
  type Args,
  type Asked,
  EMPTY_SCENE,
  type Failure,
  OPEN_AGAIN,
  type Result,
  STILL_HERE_MS,
  type Scene,
  type Told,
  patched,
} from "../scene";

/** Time after which a view connects again to a worker that ended. */
const CALL_AGAIN_MS = 500;

const drawn = signal<Scene>(EMPTY_SCENE);
const answered = signal(false);

/** The scene that views draw. */
export const scene = computed(() => drawn.value);
/** Whether the worker is connected. If not, the scene is an old one. */
export const alive = computed(() => answered.value);
const stuck = signal(false);
/** Whether the worker cannot start. */
export const broken = computed(() => stuck.value);
export const t = computed(() => texts(drawn.value.preferences.language ?? navigator.language));

interface Channel {
  post(message: Asked): void;
}

let channel: Channel | undefined;
let asked = 0;
const waiting = new Map<number, { resolve: (result: never) => void; reject: (error: ActionError) => void }>();

/** Why an action failed. */
export class ActionError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.why);
  }
}

/** Asks the worker to do something. Rejects with an {@link ActionError}. */
export function ask<Name extends ActionName>(name: Name, args: Args<Name>): Promise<Result<Name>> {
  return new Promise((resolve, reject) => {
    asked += 1;
    waiting.set(asked, { resolve: resolve as never, reject });
    if (channel === undefined) settle(asked, { failure: { why: "closed" } });
    else channel.post({ id: asked, name, args } as Asked);
  });
}

function settle(id: number, outcome: { result: unknown } | { failure: Failure }): void {
  const asker = waiting.get(id);
  waiting.delete(id);
  if ("failure" in outcome) asker?.reject(new ActionError(outcome.failure));
  else asker?.resolve(outcome.result as never);
}

function hear(told: Told): void {
  switch (told.is) {
    case "scene":
      drawn.value = told.scene;
      answered.value = true;
      stuck.value = false;
      return;
    case "broken":
      stuck.value = true;
      return;
    case "patch":
      drawn.value = patched(drawn.value, told);
      return;
    case "done":
      return settle(told.id, { result: told.result });
    case "failed":
      return settle(told.id, { failure: told.failure });
  }
}

function gone(): void {
  channel = undefined;
  answered.value = false;
  for (const id of [...waiting.keys()]) settle(id, { failure: { why: "closed" } });
}

/** Connects to the extension's worker, which wakes it. Connects again whenever the worker has ended. */
function callExtension(name = ""): void {
  const port = chrome.runtime.connect({ name });
  channel = { post: (message) => port.postMessage(message) };
  port.onMessage.addListener(hear);
  port.onDisconnect.addListener(() => {
    gone();
    setTimeout(callExtension, CALL_AGAIN_MS, OPEN_AGAIN);
  });
}

/** Connects to the worker that all tabs of the page share. In browsers without shared workers, each tab runs its own. */
async function callShared(): Promise<void> {
  let port: MessagePort;
  if (typeof SharedWorker === "function") {
    const worker = new SharedWorker("worker.js", { name: "pagenow", type: "module" });
    worker.onerror = () => (stuck.value = true);
    port = worker.port;
  } else {
    const { port1, port2 } = new MessageChannel();
    await import(new URL("worker.js", location.href).href);
    (globalThis as unknown as { onconnect: (event: { ports: MessagePort[] }) => void }).onconnect({ ports: [port2] });
    port = port1;
  }
  channel = { post: (message) => port.postMessage(message) };
  port.onmessage = ({ data }: MessageEvent<Told>) => hear(data);
  port.postMessage("here");
  setInterval(() => port.postMessage("here"), STILL_HERE_MS);
  addEventListener("pagehide", () => port.postMessage("bye"));
  addEventListener("pageshow", ({ persisted }) => {
    // The page comes from the browser's back/forward cache. It has said goodbye to its worker, so it starts again.
    if (persisted) location.reload();
  });
}

/** Connects to the worker. In an extension, the last scene is painted before the worker answers. */
export async function start(): Promise<void> {
  if (SITE.surface === "page") return callShared();
  callExtension();
  const { scene: last } = (await chrome.storage.session.get("scene")) as { scene?: Scene };
  if (last !== undefined && !answered.value) drawn.value = { ...last, link: { is: "off" } };
}
