/** The components that screens are made of. */

import type { ComponentChildren, JSX, TargetedKeyboardEvent } from "preact";
import { useEffect, useId, useLayoutEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";

import { age } from "../i18n/times";
import { initials } from "../i18n/names";
import type { PageView, Appearance } from "../generated/types";
import { clamp, clean, webAddress } from "../text";
import { ask, t } from "./port";
import { attempt, back, now, whyFailed } from "./state";

/** The most characters of a title that are shown. On the wire, a title has at most 300. */
const TITLE_SHOWN = 200;

/** Text that others wrote: cleaned, cut, and isolated so that it cannot change the direction of the text around it. */
export const Theirs = ({ text, max = TITLE_SHOWN }: { text: string; max?: number }) => <bdi>{clamp(clean(text), max)}</bdi>;

/** The same for a text of several lines. */
export const TheirLines = ({ text }: { text: string }) => (
  <p class="description" dir="auto">
    {text.split("\n").map(clean).join("\n")}
  </p>
);

/** The colour for a text, which is always the same. White letters on each of the colours have a contrast of at least 4.5. */
function hue(text: string): string {
  let sum = 0;
  for (const c of text) sum = (sum * 31 + (c.codePointAt(0) ?? 0)) % 997;
  return `c${sum % 10}`;
}

export type State = "sharing" | "hidden" | "idle" | "offline";

export function stateOf({ page, idle }: Appearance): State {
  if (page === null) return "offline";
  if (idle) return "idle";
  return page.url === "" ? "hidden" : "sharing";
}

const STATE_SHAPES: Record<Exclude<State, "offline">, JSX.Element> = {
  sharing: <circle cx="8" cy="8" r="5" class="here" />,
  hidden: (
    <>
      <circle cx="8" cy="8" r="4.25" class="ring" />
      <path d="M8 3.75a4.25 4.25 0 0 1 0 8.5z" class="here" />
    </>
  ),
  idle: <path d="M10.8 9.9A4.6 4.6 0 0 1 6.2 3.7a4.9 4.9 0 1 0 6.3 6 4.5 4.5 0 0 1-1.7.2z" class="moon" />,
};

export function stateName(state: State): string {
  const names = { sharing: t.value.stateSharing, hidden: t.value.stateHidden, idle: t.value.stateIdle, offline: t.value.stateOffline };
  return names[state];
}

interface Person {
  readonly user_id: string;
  readonly first_name: string;
  readonly last_name: string;
  readonly profile_image_extension: string | null;
  /** If it is known, a new picture with the same extension is noticed. */
  readonly profile_image_uploaded_at?: string | null;
}

/** A person's picture, or initials if there is none. A shape shows the state. */
export function Avatar({ person, state, small }: { person: Person; state?: State; small?: boolean }) {
  const [picture, withoutPicture] = usePicture(person);
  return (
    <span class={`avatar ${hue(person.user_id)}${small ? " small" : ""}`}>
      {picture ? <img src={picture} alt="" referrerpolicy="no-referrer" onError={withoutPicture} /> : <span aria-hidden="true">{initials(person.first_name, person.last_name)}</span>}
      {state !== undefined && state !== "offline" && (
        <svg viewBox="0 0 16 16" class="state" aria-hidden="true">
          <circle cx="8" cy="8" r="7.5" class="ground" />
          {STATE_SHAPES[state]}
        </svg>
      )}
    </span>
  );
}

/** Pictures that are needed, by person and extension. All that are drawn at the same time are fetched by one action. */
const wanted = new Map<string, { id: string; extension: string; then: ((url: string | undefined) => void)[] }>();

function fetchPictures(): void {
  const all = [...wanted.values()].slice(0, 100);
  for (const { id, extension } of all) wanted.delete(`${id}.${extension}`);
  if (wanted.size > 0) queueMicrotask(fetchPictures);
  ask("pictures", { people: all.map(({ id, extension }) => ({ id, extension })) }).then(
    (urls) => all.forEach(({ id, then }) => then.forEach((take) => take(urls[id]))),
    () => undefined,
  );
}

/** The address of a person's picture, and a function to call if it cannot be loaded. */
function usePicture({ user_id, profile_image_extension, profile_image_uploaded_at }: Person): [string | undefined, () => void] {
  const url = useSignal<string | undefined>(undefined);
  useEffect(() => {
    url.value = undefined;
    if (profile_image_extension === null) return;
    const key = `${user_id}.${profile_image_extension}`;
    if (wanted.size === 0) queueMicrotask(fetchPictures);
    const asked = wanted.get(key) ?? { id: user_id, extension: profile_image_extension, then: [] };
    asked.then.push((known) => {
      url.value = known && webAddress(known);
    });
    wanted.set(key, asked);
  }, [user_id, profile_image_extension, profile_image_uploaded_at]);
  return [url.value, () => (url.value = undefined)];
}

/** The first letter of a site on a colour of its own. Icons are not fetched, because that would tell others who looks at what. */
export const Tile = ({ site }: { site: string }) => (
  <span class={`tile ${hue(site)}`} aria-hidden="true">
    {site.replace(/^xn--/, "").slice(0, 1)}
  </span>
);

/** A page in one line: the site, then the title. */
export function PageLine({ page }: { page: Pick<PageView, "domain" | "title"> }) {
  return (
    <span class="page">
      <Tile site={page.domain} />
      <b>
        <bdi>{page.domain}</bdi>
      </b>
      <span class="title">
        <Theirs text={page.title} />
      </span>
    </span>
  );
}

/** "4 min", or "now". */
export function Age({ since }: { since: string | number | null }) {
  if (since === null) return null;
  const at = typeof since === "number" ? since : Date.parse(since);
  return <>{age(at, now.value, t.value.tag) ?? t.value.justNow}</>;
}

export function Button({ kind = "", small, ...rest }: { kind?: "" | "primary" | "quiet" | "danger" | "choice"; small?: boolean } & JSX.IntrinsicElements["button"]) {
  return <button type="button" {...rest} class={`button ${kind}${small ? " small" : ""}`} />;
}

export function Switch({ label, note, on, disabled, onChange }: {
  label: ComponentChildren;
  note?: ComponentChildren;
  on: boolean;
  disabled?: boolean;
  onChange: (on: boolean) => void;
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>
        <span>{label}</span>
        {note && <span class="note">{note}</span>}
      </label>
      <input
        id={id}
        type="checkbox"
        role="switch"
        class="switch"
        checked={on}
        disabled={disabled ?? false}
        onChange={(event) => {
          const wanted = event.currentTarget.checked;
          // The switch shows the current state, not the one that the person asked for.
          event.currentTarget.checked = on;
          onChange(wanted);
        }}
      />
    </div>
  );
}

/** A dialog at the bottom of the view. Escape and a click beside it close it. */
export function Sheet({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // A layout effect, because its cleanup runs before the element is removed. That of `useEffect` would run too late.
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    // A dialog that is closed gives the focus back. If it is removed while it is open, the focus is lost.
    return () => element?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class="sheet"
      aria-labelledby={id}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div class="sheet-body">
        <h2 id={id}>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}

/** A question before an action that cannot be undone. */
export function Question({ title, text, yes, danger, onYes, onClose }: {
  title: string;
  text: ComponentChildren;
  yes: string;
  danger?: boolean;
  onYes: () => void;
  onClose: () => void;
}) {
  return (
    <Sheet title={title} onClose={onClose}>
      <p>{text}</p>
      <div class="buttons">
        <Button onClick={onClose}>{t.value.cancel}</Button>
        <Button kind={danger ? "danger" : "primary"} onClick={onYes}>
          {yes}
        </Button>
      </div>
    </Sheet>
  );
}

/** A screen below one of the tabs, with a back button. */
export function Screen({ title, children }: { title: string; children: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [title]);
  return (
    <main class="screen">
      <header class="bar">
        <button type="button" class="icon" aria-label={t.value.back} onClick={back}>
          <Icon name="back" />
        </button>
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
      </header>
      <div class="content">{children}</div>
    </main>
  );
}

const ICONS = {
  back: <path d="M12 4 6 10l6 6" />,
  more: <path d="M5 10h.01M10 10h.01M15 10h.01" stroke-width="2.5" />,
  search: <path d="M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12zM13.500 13.500 17 17" />,
  friends: <path d="M10 7a3 3 0 1 1-6 0 3 3 0 0 1 6 0zM1.500 16c.6-3 2.800-4.500 5.500-4.500s4.900 1.500 5.500 4.500M13 4.300a3 3 0 0 1 0 5.400M15 11.800c1.700.7 2.700 2.100 3 4.200" />,
  inbox: <path d="M3 11.500 5 4h10l2 7.500V16H3zM3 11.500h4c.3 1.600 1.400 2.300 3 2.300s2.700-.7 3-2.300h4" />,
  me: <path d="M13.200 7a3.200 3.200 0 1 1-6.400 0 3.200 3.200 0 0 1 6.400 0zM3.500 17c.8-3.400 3.200-5 6.500-5s5.700 1.600 6.500 5" />,
  send: <path d="M3 10 17 4l-4 13-3-5.500zM10 11.500 17 4" />,
};

export const Icon = ({ name }: { name: keyof typeof ICONS }) => (
  <svg viewBox="0 0 20 20" class="glyph" aria-hidden="true">
    {ICONS[name]}
  </svg>
);

/** Data that a screen fetches for itself. */
export interface Fetched<T> {
  /** The result of the last fetch that succeeded. */
  readonly value: T | undefined;
  /** Why the last try failed, in words; undefined if it did not. */
  readonly failed: string | undefined;
  again(): void;
}

/** Fetches data when the inputs change, and when `again` is called. */
export function useFetched<T>(fetch: () => Promise<T>, inputs: readonly unknown[]): Fetched<T> {
  const value = useSignal<T | undefined>(undefined);
  const failed = useSignal<string | undefined>(undefined);
  const turn = useRef(0);
  const again = () => {
    turn.current += 1;
    const mine = turn.current;
    failed.value = undefined;
    fetch().then(
      (fetched) => {
        if (mine === turn.current) value.value = fetched;
      },
      (error) => {
        if (mine === turn.current) failed.value = whyFailed(error);
      },
    );
  };
  useEffect(() => {
    again();
    return () => {
      turn.current += 1;
    };
  }, inputs);
  return { value: value.value, failed: failed.value, again };
}

/** A list that the server gives a page at a time. */
export interface Paged<T> extends Fetched<readonly T[]> {
  /** Whether the server may have more. */
  readonly more: boolean;
  /** Fetches the next page. */
  next(): Promise<void>;
}

/** Fetches the first page when the inputs change, and others when they are asked for. `size`: the items of a full page. */
export function usePaged<T>(fetch: (offset: number) => Promise<readonly T[]>, size: number, inputs: readonly unknown[]): Paged<T> {
  const first = useFetched(() => fetch(0), inputs);
  const later = useSignal<{ readonly after?: readonly T[]; readonly items: readonly T[]; readonly full: boolean }>({ items: [], full: false });
  // Pages after a first page that was fetched again count no more.
  const known = first.value && later.value.after === first.value ? later.value : { items: [], full: first.value?.length === size };
  const value = first.value && [...first.value, ...known.items];
  const next = async () => {
    if (first.value === undefined || value === undefined) return;
    const items = await fetch(value.length);
    later.value = { after: first.value, items: [...known.items, ...items], full: items.length === size };
  };
  return { ...first, value, more: known.full, next };
}

/** The way to the next page, where there may be one. */
export function More({ paged: { more, next } }: { paged: Paged<unknown> }) {
  return more ? (
    <Button kind="quiet" onClick={() => void attempt(next())}>
      {t.value.showMore}
    </Button>
  ) : null;
}

/** Shown in place of data that has not been fetched yet. */
export function Fetching({ fetched: { failed, again } }: { fetched: Fetched<unknown> }) {
  return (
    <div class="empty-note" role="status">
      <p>{failed ?? t.value.loading}</p>
      {failed && <Button onClick={again}>{t.value.tryAgain}</Button>}
    </div>
  );
}

/** A field of a form. */
export function Field({ label, children }: { label: string; children: (id: string) => ComponentChildren }) {
  const id = useId();
  return (
    <div class="form-field">
      <label for={id}>{label}</label>
      {children(id)}
    </div>
  );
}

/** Moves the focus between the rows of a list with the arrow keys. */
export function moveByArrows(event: TargetedKeyboardEvent<HTMLElement>): void {
  const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  if (step === 0) return;
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>("[data-row]")];
  const at = rows.findIndex((row) => row.contains(document.activeElement) || row === document.activeElement);
  const next = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
  if (next === undefined) return;
  event.preventDefault();
  (next.matches("a, button") ? next : next.querySelector<HTMLElement>("a, button"))?.focus();
}
