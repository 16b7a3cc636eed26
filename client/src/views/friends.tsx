/** The list of friends. */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";

import { ago, age } from "../i18n/times";
import type { Friend } from "../scene";
import { webAddress } from "../text";
import { Now } from "./now";
import { type Placed, arrange, frozen } from "./order";
import { Age, Avatar, Button, Icon, PageLine, Question, Sheet, moveByArrows, stateName, stateOf } from "./parts";
import { alive, ask, scene, t } from "./port";
import { account, attempt, go, now, say, to } from "./state";

/** The most offline friends that are shown. If there are more, the rest is folded. */
const OFFLINE_SHOWN = 20;
/** The number of rows that are painted first: more than a window shows. The rest is painted after them. */
const PAINTED_FIRST = 20;
/** The time after which the rest is painted at the latest. */
const PAINTED_AFTER_MS = 500;

export function Friends() {
  const { link, known } = scene.value;
  const stale = !alive.value || link.is !== "open";
  return (
    <main class="tab friends">
      <Now />
      <div class={`list${stale ? " stale" : ""}`}>{known ? <List /> : <p class="empty-note">{t.value.friendsNotKnown}</p>}</div>
    </main>
  );
}

function List() {
  const { friends } = scene.value;
  const held = useSignal({ pointer: false, focus: false });
  const all = useSignal(false);
  const painted = useSignal(false);
  useEffect(() => {
    const later = globalThis.requestIdleCallback ?? ((run: () => void) => setTimeout(run, PAINTED_AFTER_MS));
    later(() => (painted.value = true), { timeout: PAINTED_AFTER_MS });
  }, []);
  const before = useRef<readonly Placed[]>([]);
  const collator = useMemo(() => new Intl.Collator(t.value.tag), [t.value]);
  const fresh = arrange(scene.value, collator);
  // While the pointer or the focus is in the list, rows do not move, so that a click hits the row that the person aimed at.
  const still = held.value.pointer || held.value.focus;
  const placed = still ? frozen(before.current, fresh) : fresh;
  before.current = placed;
  if (placed.length === 0) return <Nobody />;
  const groups = { together: [], online: [], offline: [] } as Record<Placed["group"], string[]>;
  for (const { id, group } of painted.value ? placed : placed.slice(0, PAINTED_FIRST)) groups[group].push(id);
  const offline = all.value ? groups.offline : groups.offline.slice(0, OFFLINE_SHOWN);
  const folded = groups.offline.length - offline.length;
  const countOf = (group: Placed["group"]) => placed.filter((one) => one.group === group).length;
  const rows = (ids: readonly string[]) => ids.map((id) => <Row key={id} id={id} friend={friends[id] as Friend} />);
  return (
    <div
      class="groups"
      onPointerEnter={() => (held.value = { ...held.value, pointer: true })}
      onPointerLeave={() => (held.value = { ...held.value, pointer: false })}
      onFocusIn={() => (held.value = { ...held.value, focus: true })}
      onFocusOut={() => (held.value = { ...held.value, focus: false })}
      onKeyDown={moveByArrows}
    >
      <a class="button quiet small find" href="#/search">
        <Icon name="search" />
        {t.value.search}
      </a>
      <Group name={t.value.hereWithYou} count={countOf("together")} rows={rows(groups.together)} />
      <Group name={t.value.online} count={countOf("online")} rows={rows(groups.online)} />
      <Group name={t.value.offline} count={countOf("offline")} rows={rows(offline)} />
      {folded > 0 && (
        <Button kind="quiet" onClick={() => (all.value = true)}>
          {t.value.showAllOffline(groups.offline.length)}
        </Button>
      )}
    </div>
  );
}

function Group({ name, rows, count }: { name: string; rows: JSX.Element[]; count: number }) {
  if (rows.length === 0) return null;
  return (
    <section>
      <h2>
        {name} <span class="count">{count}</span>
      </h2>
      <ul>{rows}</ul>
    </section>
  );
}

function Row({ id, friend: { info, presence } }: { id: string; friend: Friend }) {
  const menu = useSignal(false);
  const state = stateOf(presence);
  const { first_name, last_name } = info;
  const name = t.value.fullName(first_name, last_name);
  const page = presence.page;
  const address = page && page.url !== "" ? webAddress(page.url) : undefined;
  const content = (
    <>
      <Avatar person={info} state={state} />
      <span class="text">
        <span class="name">
          <b>
            <bdi>{name}</bdi>
          </b>
          <small>
            <When friend={{ info, presence }} />
          </small>
        </span>
        <span class="visually-hidden">{stateName(state)}</span>
        {page && page.url !== "" && <PageLine page={page} />}
        {page?.url === "" && (
          <span class="page">
            <span class="title">{presence.latestPage?.domain ? t.value.hiddenLast(presence.latestPage.domain) : t.value.hidden}</span>
          </span>
        )}
      </span>
    </>
  );
  return (
    <li
      class={`row ${state}`}
      data-row
      data-user={id}
      onContextMenu={(event) => {
        event.preventDefault();
        menu.value = true;
      }}
    >
      {address ? (
        <a class="main" href={address} target="_blank" rel="noopener noreferrer">
          {content}
        </a>
      ) : (
        <a class="main" href={to("user", id)}>
          {content}
        </a>
      )}
      <button type="button" class="icon" aria-label={t.value.moreOf(name)} aria-haspopup="dialog" onClick={() => (menu.value = true)}>
        <Icon name="more" />
      </button>
      {menu.value && <Menu id={id} name={name} onClose={() => (menu.value = false)} />}
    </li>
  );
}

function When({ friend: { presence } }: { friend: Friend }) {
  const { at, idle, idleSince, lastSeenAt, page } = presence;
  const tag = t.value.tag;
  if (page === null) return lastSeenAt === null ? null : <>{t.value.activeAgo(ago(Date.parse(lastSeenAt), now.value, tag))}</>;
  if (idle && idleSince !== null) return <>{t.value.idle(age(Date.parse(idleSince), now.value, tag) ?? t.value.justNow)}</>;
  return <Age since={at} />;
}

function Menu({ id, name, onClose }: { id: string; name: string; onClose: () => void }) {
  const question = useSignal<"remove" | "block" | null>(null);
  const follow = (...parts: string[]) => {
    onClose();
    go(...parts);
  };
  if (question.value === "remove") {
    return (
      <Question
        title={t.value.removeTitle(name)}
        text={t.value.removeText}
        yes={t.value.removeFriend}
        danger
        onYes={() => {
          onClose();
          void attempt(ask("end", { id }), t.value.removed(name));
        }}
        onClose={onClose}
      />
    );
  }
  if (question.value === "block") {
    return (
      <Question
        title={t.value.blockTitle(name)}
        text={t.value.blockText}
        yes={t.value.block}
        danger
        onYes={() => {
          onClose();
          void attempt(ask("block", { id, blocked: true }), t.value.blockedNow(name));
        }}
        onClose={onClose}
      />
    );
  }
  return (
    <Sheet title={name} onClose={onClose}>
      <div class="menu">
        <Button onClick={() => follow("share", id)}>{t.value.sharePage}</Button>
        <Button onClick={() => follow("user", id)}>{t.value.profile}</Button>
        <Button onClick={() => (question.value = "remove")}>{t.value.removeFriend}</Button>
        <Button onClick={() => (question.value = "block")}>{t.value.block}</Button>
      </div>
    </Sheet>
  );
}

function Nobody() {
  return (
    <div class="empty">
      <svg width="72" height="56" viewBox="0 0 72 56" aria-hidden="true">
        <circle cx="24" cy="22" r="8" />
        <path d="M8 48c2-9 8-13 16-13s14 4 16 13M52 22h12M58 16v12" />
      </svg>
      <h2>{t.value.emptyTitle}</h2>
      <p>{t.value.emptyText}</p>
      <div class="buttons">
        <Button kind="primary" onClick={() => void copyInvite()}>
          {t.value.copyInvite}
        </Button>
        <Button onClick={() => go("search")}>{t.value.search}</Button>
      </div>
    </div>
  );
}

/** Copies the link to the person's own profile, as an invitation. */
export async function copyInvite(): Promise<void> {
  if (account.value === undefined) return;
  await navigator.clipboard.writeText(`${SITE.origin}/app/${to("user", account.value.user_id)}`).then(
    () => say(t.value.copied),
    () => say(t.value.failedRefused, true),
  );
}
