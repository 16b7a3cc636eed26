/** What views share besides the scene: the time, the place, and what was last said to the person. */

import { computed, effect, signal } from "@preact/signals";

import { plainName } from "../i18n/names";
import { type Failure } from "../scene";
import { ActionError, scene, t } from "./port";

/** Ages are drawn anew that often. */
const CLOCK_MS = 10_000;

export const now = signal(Date.now());
setInterval(() => {
  if (document.visibilityState === "visible") now.value = Date.now();
}, CLOCK_MS);
document.addEventListener("visibilitychange", () => {
  now.value = Date.now();
});

const hash = signal(location.hash);
addEventListener("hashchange", () => {
  hash.value = location.hash;
});

/** The place in the views, such as `["user", "alice"]`. */
export const place = computed(() => {
  const parts = hash.value.replace(/^#\/?/, "").split("?")[0]?.split("/") ?? [];
  return parts.filter((part) => part !== "").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
});

export function to(...parts: string[]): string {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

export function go(...parts: string[]): void {
  location.hash = to(...parts);
}

export function back(): void {
  if (history.length > 1) history.back();
  else go("friends");
}

/** What was last said to the person: the result of what they did. */
export const said = signal<{ readonly text: string; readonly bad: boolean } | null>(null);
const SAID_FOR_MS = 6_000;
let silence: ReturnType<typeof setTimeout> | undefined;

export function say(text: string, bad = false): void {
  said.value = { text, bad };
  clearTimeout(silence);
  silence = setTimeout(() => {
    said.value = null;
  }, SAID_FOR_MS);
}

export function inWords(failure: Failure): string {
  switch (failure.why) {
    case "offline":
    case "closed":
      return t.value.failedOffline;
    case "signed-out":
      return t.value.failedSignedOut;
    case "sign-in-away":
      return t.value.signInAway;
    case "sign-in-closed":
      return t.value.signInClosed;
    case "refused":
      return failure.fields?.[0]?.message ?? failure.detail ?? t.value.failedRefused;
  }
}

/** Does what a person asked for; what fails is said. Whether it was done. */
export async function attempt(doing: Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await doing;
  } catch (error) {
    say(error instanceof ActionError ? inWords(error.failure) : t.value.failedRefused, true);
    return false;
  }
  if (done !== undefined) say(done);
  return true;
}

/** The person's own account, once it is known. */
export const account = computed(() => {
  const { account: known } = scene.value;
  return known === null || known === "new" ? undefined : known;
});

export const ownName = computed(() => (account.value ? plainName(account.value.first_name, account.value.last_name) : ""));

// Language and theme are the document's, so that the browser knows them too.
effect(() => {
  const { theme } = scene.value.preferences;
  document.documentElement.lang = t.value.tag;
  if (theme === null) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
});
