/** State that views share besides the scene: the time, the current place, and the last message to the person. */

import { computed, effect, signal } from "@preact/signals";

import { plainName } from "../i18n/names";
import type { Failure } from "../scene";
import { ActionError, scene, t } from "./port";

/** Time between two updates of the ages that are drawn. */
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

/** The current place, from the address's fragment, such as `["user", "alice"]`. */
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

/** The last message to the person: the outcome of their last action. */
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

/** Why an action failed, in the person's language. */
export function whyFailed(error: unknown): string {
  return error instanceof ActionError ? inWords(error.failure) : t.value.failedRefused;
}

function inWords(failure: Failure): string {
  switch (failure.why) {
    case "offline":
    case "closed":
      return t.value.failedOffline;
    case "no-site":
      return t.value.notASite;
    case "list-full":
      return t.value.listFull;
    case "signed-out":
      return t.value.failedSignedOut;
    case "sign-in-away":
      return t.value.signInAway;
    case "sign-in-closed":
      return t.value.signInClosed;
    case "refused":
      return refusedInWords(failure);
  }
}

/** Explains a refusal. The server's explanation is English, and its names of fields are those of the contract. */
function refusedInWords({ fields, detail }: Failure): string {
  const names: Record<string, string> = {
    first_name: t.value.firstName,
    last_name: t.value.lastName,
    description: t.value.description,
    dob: t.value.birthday,
    gender: t.value.gender,
    school: t.value.school,
    work: t.value.work,
    location: t.value.location,
    url: t.value.address,
    title: t.value.title,
  };
  const name = names[fields?.[0]?.field ?? ""];
  if (name !== undefined) return t.value.fieldRefused(name);
  return t.value.tag === "en" && detail !== undefined ? detail : t.value.failedRefused;
}

/** Waits for an action. A failure is shown to the person. Resolves to whether the action succeeded. */
export async function attempt(doing: Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await doing;
  } catch (error) {
    say(whyFailed(error), true);
    return false;
  }
  if (done !== undefined) say(done);
  return true;
}

/** Waits for a sign-out. If it gives an address that ends the provider's own session, the page goes there. */
export function leave(leaving: Promise<string | null>): Promise<boolean> {
  return attempt(leaving.then((address) => {
    if (address !== null) location.assign(address);
  }));
}

/** The person's own account, once it is known. */
export const account = computed(() => {
  const { account: known } = scene.value;
  return known === null || known === "new" ? undefined : known;
});

export const ownName = computed(() => (account.value ? plainName(account.value.first_name, account.value.last_name) : ""));

// Language and theme are set on the document, so that the browser knows them too.
effect(() => {
  const { theme } = scene.value.preferences;
  document.documentElement.lang = t.value.tag;
  if (theme === null) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
});
