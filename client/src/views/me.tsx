/** The screen of settings: what is shared, and what holds for this browser. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { openPanel } from "../browser";
import type { UserPrivate } from "../generated/types";
import { type Preferences, type WouldShow, agreed } from "../scene";
import { copyInvite } from "./friends";
import { Avatar, Button, Field, Sheet, Switch, Tile } from "./parts";
import { ask, scene, t } from "./port";
import { account, attempt, say, to, whyFailed } from "./state";

/** The most sites that are shown. If there are more, the rest is folded. */
const SITES_SHOWN = 12;

export function Me() {
  const person = account.value;
  if (person === undefined) return <main class="tab">{t.value.loading}</main>;
  const invisible = scene.value.own !== null && scene.value.own.page === null && scene.value.link.is === "open";
  return (
    <main class="tab">
      <h1 class="visually-hidden">{t.value.me}</h1>
      <div class="content">
        <div class="profile">
          <Avatar person={person} />
          <div class="text">
            <b class="big">
              <bdi>{t.value.fullName(person.first_name, person.last_name)}</bdi>
            </b>
            <div class="note">
              <bdi>{person.email}</bdi>
              {!person.email_public && <> · {t.value.onlyYouSee}</>}
            </div>
          </div>
          <a class="button" href={to("me", "profile")}>
            {t.value.edit}
          </a>
        </div>
        <Switch
          label={t.value.invisible}
          note={t.value.invisibleText}
          on={invisible}
          disabled={scene.value.link.is !== "open"}
          onChange={(wanted) => void attempt(ask("set-invisible", { invisible: wanted }))}
        />
        <Sites person={person} />
        <ThisBrowser />
        <ul class="links">
          <li>
            <button type="button" onClick={() => void copyInvite()}>
              {t.value.copyInvite}
            </button>
          </li>
          <li>
            <a href={to("me", "account")}>{t.value.account}</a>
          </li>
        </ul>
      </div>
    </main>
  );
}

function Sites({ person }: { person: UserPrivate }) {
  const mode = person.share_mode;
  const list = mode === "default_none" ? "allow" : "deny";
  const sites = mode === "default_none" ? person.domain_allow_array : person.domain_deny_array;
  const all = useSignal(false);
  const adding = useSignal("");
  const wrong = useSignal("");
  const shown = all.value ? sites : sites.slice(0, SITES_SHOWN);
  const add = async () => {
    const entry = adding.value.trim();
    if (entry === "") return;
    try {
      await ask("list-site", { list, site: entry, listed: true });
      adding.value = "";
      wrong.value = "";
    } catch (error) {
      wrong.value = whyFailed(error);
    }
  };
  const modes = useRef<HTMLDivElement>(null);
  const choose = async (value: UserPrivate["share_mode"]) => {
    if (await attempt(ask("set-mode", { mode: value }))) return;
    // The radio buttons show the server's mode, not the one that the person has just chosen.
    for (const radio of modes.current?.querySelectorAll("input") ?? []) radio.checked = radio.value === account.value?.share_mode;
  };
  const choice = (value: UserPrivate["share_mode"], label: string) => (
    <label class={mode === value ? "chosen" : ""}>
      <input type="radio" name="mode" value={value} checked={mode === value} onChange={() => void choose(value)} />
      {label}
    </label>
  );
  return (
    <section aria-labelledby="sites">
      <h2 id="sites">{t.value.whatFriendsSee}</h2>
      <div ref={modes} class="segments" role="radiogroup" aria-labelledby="sites">
        {choice("default_none", t.value.onlyThese)}
        {choice("default_all", t.value.allButThese)}
      </div>
      <ul class="chips">
        {shown.map((site) => (
          <li key={site}>
            <Tile site={site} />
            <bdi>{site}</bdi>
            <button
              type="button"
              aria-label={t.value.removeSite(site)}
              onClick={() => void attempt(ask("list-site", { list, site, listed: false }))}
            >
              ×
            </button>
          </li>
        ))}
        {sites.length === 0 && <li class="bare">{t.value.noSites}</li>}
        {sites.length > SITES_SHOWN && (
          <li class="bare">
            <Button kind="quiet" small onClick={() => (all.value = !all.value)}>
              {all.value ? t.value.fewer : t.value.nMore(sites.length - SITES_SHOWN)}
            </Button>
          </li>
        )}
      </ul>
      <form
        class="inline"
        onSubmit={(event) => {
          event.preventDefault();
          void add();
        }}
      >
        <input
          class="input"
          aria-label={t.value.addSite}
          aria-invalid={wrong.value !== ""}
          aria-describedby="wrong-site"
          placeholder={t.value.addSiteHint}
          value={adding.value}
          maxLength={253}
          spellcheck={false}
          autocapitalize="off"
          onInput={(event) => (adding.value = event.currentTarget.value)}
        />
        <Button type="submit">{t.value.addSite}</Button>
      </form>
      <p id="wrong-site" class="wrong" role="status">
        {wrong.value}
      </p>
      <Would person={person} />
    </section>
  );
}

function Would({ person }: { person: UserPrivate }) {
  const text = useSignal("");
  const answer = useSignal<WouldShow | null>(null);
  useEffect(() => {
    if (text.value.trim() === "") {
      answer.value = null;
      return;
    }
    let current = true;
    ask("would-show", { text: text.value }).then(
      (known) => {
        if (current) answer.value = known;
      },
      () => undefined,
    );
    return () => {
      current = false;
    };
  }, [text.value, person]);
  const words = ({ shown, site }: WouldShow) => (site === null ? t.value.neverShown : shown ? t.value.shownBecause(site) : t.value.hiddenBecause(site));
  return (
    <div class="card">
      <Field label={t.value.wouldShow}>
        {(id) => (
          <input
            id={id}
            class="input"
            placeholder={t.value.wouldShowHint}
            value={text.value}
            maxLength={2_048}
            spellcheck={false}
            autocapitalize="off"
            onInput={(event) => (text.value = event.currentTarget.value)}
          />
        )}
      </Field>
      <p class="note" role="status">
        {answer.value && words(answer.value)}
      </p>
    </div>
  );
}

/** Settings that hold only for this browser. */
function ThisBrowser() {
  const { preferences, sharing, mayNotify } = scene.value;
  const choosing = useSignal(false);
  const language = { en: "English", ko: "한국어" };
  const theme = { light: t.value.light, dark: t.value.dark };
  const notify = async (on: boolean) => {
    // The permission is requested at once, because browsers allow the request only right after a click. The preference is stored
    // at once, because the browser's question may close the popup.
    const permitted = on ? chrome.permissions.request({ permissions: ["notifications"] }).catch(() => false) : true;
    await attempt(ask("prefer", { changes: { notifications: on } }));
    if (await permitted) return;
    say(t.value.notificationsRefused, true);
    await attempt(ask("prefer", { changes: { notifications: false } }));
  };
  return (
    <section>
      {SITE.surface !== "page" && (
        <>
          <Switch label={t.value.notifications} note={t.value.notificationsText} on={preferences.notifications && mayNotify} onChange={(on) => void notify(on)} />
          <div class="field">
            <span>{t.value.sharingChoice}</span>
            {agreed(sharing.consent) === "share" && sharing.permitted ? (
              <Button onClick={() => void attempt(ask("agree", { choice: "watch" }))}>{t.value.stopSharing}</Button>
            ) : (
              <a class="button" href="tab.html#/welcome" target="_blank">
                {t.value.startSharing}
              </a>
            )}
          </div>
          {document.documentElement.dataset.surface === "popup" && (
            <div class="field">
              <span>{t.value.friends}</span>
              <Button onClick={() => void attempt(openPanel().then(() => window.close()))}>{t.value.keepOpen}</Button>
            </div>
          )}
        </>
      )}
      <ul class="links">
        <li>
          <button type="button" onClick={() => (choosing.value = true)}>
            <span>{t.value.languageAndTheme}</span>
            <span class="note">
              {preferences.language ? language[preferences.language] : t.value.language} · {preferences.theme ? theme[preferences.theme] : t.value.system}
            </span>
          </button>
        </li>
      </ul>
      {choosing.value && <Preferring onClose={() => (choosing.value = false)} />}
    </section>
  );
}

function Preferring({ onClose }: { onClose: () => void }) {
  const { preferences } = scene.value;
  const prefer = (changes: Partial<Preferences>) => void attempt(ask("prefer", { changes }));
  return (
    <Sheet title={t.value.languageAndTheme} onClose={onClose}>
      <Field label={t.value.languageLabel}>
        {(id) => (
          <select id={id} class="input" value={preferences.language ?? ""} onChange={(event) => prefer({ language: (event.currentTarget.value || null) as Preferences["language"] })}>
            <option value="">{t.value.system}</option>
            <option value="en" lang="en">
              English
            </option>
            <option value="ko" lang="ko">
              한국어
            </option>
          </select>
        )}
      </Field>
      <Field label={t.value.theme}>
        {(id) => (
          <select id={id} class="input" value={preferences.theme ?? ""} onChange={(event) => prefer({ theme: (event.currentTarget.value || null) as Preferences["theme"] })}>
            <option value="">{t.value.system}</option>
            <option value="light">{t.value.light}</option>
            <option value="dark">{t.value.dark}</option>
          </select>
        )}
      </Field>
      <div class="buttons">
        <Button kind="primary" onClick={onClose}>
          {t.value.close}
        </Button>
      </div>
    </Sheet>
  );
}
