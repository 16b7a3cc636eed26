/** The screens before the list of friends: consent, sign-in, and registration. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { agreed } from "../scene";
import { Avatar, Button, Field, PageLine } from "./parts";
import { alive, ask, scene, t } from "./port";
import { attempt, go, leave, whyFailed } from "./state";

/** Explains what is shared with whom, and asks for consent. No page is read before. */
export function Welcome() {
  const declined = useSignal(false);
  const choose = async (choice: "share" | "watch") => {
    declined.value = false;
    // The permission is requested before any await, because browsers allow the request only right after a click.
    if (choice === "share" && !(await chrome.permissions.request({ permissions: ["tabs"] }).catch(() => false))) {
      declined.value = true;
      return;
    }
    if (await attempt(ask("agree", { choice }))) go("friends");
  };
  const you = { user_id: "you", first_name: t.value.you, last_name: "", profile_image_extension: null };
  return (
    <main class="welcome">
      <div>
        <h1>{t.value.welcomeTitle}</h1>
        <p class="lead">{t.value.welcomeText}</p>
        <dl>
          <dt>{t.value.shared}</dt>
          <dd>{t.value.sharedText}</dd>
          <dt>{t.value.never}</dt>
          <dd>{t.value.neverText}</dd>
          <dt>{t.value.withWhom}</dt>
          <dd>{t.value.withWhomText}</dd>
          <dt>{t.value.first}</dt>
          <dd>{t.value.firstText}</dd>
        </dl>
        <div class="buttons start">
          <Button kind="choice" onClick={() => void choose("share")}>
            {t.value.startSharing}
          </Button>
          <Button kind="choice" onClick={() => void choose("watch")}>
            {t.value.onlySeeFriends}
          </Button>
        </div>
        <p class="wrong" role="status">
          {declined.value && t.value.permissionDeclined}
        </p>
        <p class="note">{t.value.anyTime}</p>
      </div>
      <div class="card" aria-hidden="true">
        <div class="eyebrow">{t.value.thisIsWhatFriendsSee}</div>
        <div class="me">
          <Avatar person={you} state="sharing" />
          <div class="text">
            <b>{t.value.you}</b>
            <PageLine page={{ domain: "wikipedia.org", title: "Aurora – Wikipedia" }} />
          </div>
        </div>
        <div class="me">
          <Avatar person={you} state="hidden" />
          <div class="text">
            <b>{t.value.you}</b>
            <div class="page">
              <span class="title">{t.value.hiddenLast("wikipedia.org")}</span>
            </div>
          </div>
        </div>
        <p class="note">{t.value.otherSite}</p>
      </div>
    </main>
  );
}

/**
 * Shown in the popup instead of {@link Welcome}: the popup has no place for the browser's question. The link opens it in a tab.
 */
export function GetStarted() {
  return (
    <main class="entry">
      <Mark />
      <h1>{t.value.welcomeTitle}</h1>
      <p>{t.value.getStartedText}</p>
      <a class="button primary" href="tab.html#/welcome" target="_blank">
        {t.value.getStarted}
      </a>
    </main>
  );
}

export function SignIn() {
  const { signIn } = scene.value;
  const wrong = useSignal("");
  const busy = useSignal(false);
  const begin = async () => {
    busy.value = true;
    wrong.value = "";
    try {
      if (SITE.surface === "page") {
        // The place is kept, so that an invitation is shown after sign-in.
        sessionStorage.setItem("place", location.hash);
        location.assign(await ask("sign-in-address", {}));
      } else {
        await ask("sign-in", {});
      }
    } catch (error) {
      wrong.value = whyFailed(error);
    }
    busy.value = false;
  };
  const waiting = busy.value || signIn.is === "busy";
  return (
    <main class="entry">
      <Mark />
      <h1>{t.value.signInTitle}</h1>
      <p>{signIn.is === "out" && signIn.why === "ended" ? t.value.signInEnded : t.value.signInText}</p>
      <Button kind="primary" disabled={!alive.value} onClick={() => waiting || void begin()} aria-busy={waiting}>
        {t.value.signIn}
      </Button>
      <p class={wrong.value ? "wrong" : "note"} role="status">
        {wrong.value || (waiting && SITE.surface !== "page" ? t.value.signInBusy : "")}
      </p>
    </main>
  );
}

/** If the provider has sent the page back, passes the code to the worker, and removes it from the address. */
export async function takeReturn(): Promise<void> {
  const { searchParams, href } = new URL(location.href);
  if (SITE.surface !== "page" || !(searchParams.has("code") || searchParams.has("error"))) return;
  history.replaceState(null, "", location.pathname);
  // Set by `location`, because a change by the history API fires no `hashchange` event.
  location.hash = sessionStorage.getItem("place") ?? "";
  sessionStorage.removeItem("place");
  await attempt(ask("sign-in-returned", { url: href }));
}

export function Register() {
  const first = useSignal("");
  const last = useSignal("");
  const busy = useSignal(false);
  useEffect(() => {
    document.querySelector<HTMLInputElement>("input")?.focus();
  }, []);
  return (
    <main class="entry">
      <Mark />
      <h1>{t.value.registerTitle}</h1>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          busy.value = true;
          await attempt(ask("register", { firstName: first.value, lastName: last.value }));
          busy.value = false;
        }}
      >
        <Field label={t.value.firstName}>
          {(id) => <input id={id} class="input" required maxLength={100} autocomplete="given-name" value={first.value} onInput={(event) => (first.value = event.currentTarget.value)} />}
        </Field>
        <Field label={t.value.lastName}>
          {(id) => <input id={id} class="input" maxLength={100} autocomplete="family-name" value={last.value} onInput={(event) => (last.value = event.currentTarget.value)} />}
        </Field>
        <label class="check">
          <input type="checkbox" required />
          <span>{t.value.ageConsent}</span>
        </label>
        <div class="buttons">
          <Button type="submit" kind="primary" disabled={busy.value}>
            {t.value.register}
          </Button>
        </div>
      </form>
      <Button kind="quiet" onClick={() => void leave(ask("sign-out", {}))}>
        {t.value.signOut}
      </Button>
    </main>
  );
}

/** The logo: two people on one page. */
export const Mark = () => (
  <svg class="mark" viewBox="0 0 48 48" aria-hidden="true">
    <rect x="4" y="8" width="40" height="32" rx="8" />
    <path d="M4 17h40" />
    <circle cx="18" cy="28" r="5" class="full" />
    <circle cx="31" cy="28" r="5" />
  </svg>
);

/** The screen that must come before the list of friends. Null: none. */
export function entryFor(): "welcome" | "sign-in" | "register" | null {
  const { signIn, account, sharing } = scene.value;
  if (SITE.surface !== "page" && agreed(sharing.consent) === undefined) return "welcome";
  if (signIn.is === "out" || signIn.is === "busy") return "sign-in";
  return account === "new" ? "register" : null;
}
