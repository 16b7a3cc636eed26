/** The search for people, and a person's profile. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import type { UserSummary } from "../generated/types";
import type { Profile } from "../scene";
import { Avatar, Button, Fetching, More, Question, Screen, TheirLines, Theirs, moveByArrows, useFetched, usePaged } from "./parts";
import { ActionError, ask, scene, t } from "./port";
import { account, attempt, go, to } from "./state";

/** The most people in one answer of the server. */
const AT_ONCE = 20;
/** Time without typing after which a search begins. */
const TYPED_MS = 300;

export function Search() {
  const text = useSignal("");
  const by = useSignal<"name" | "email">("name");
  const found = useSignal<readonly UserSummary[] | null>(null);
  const more = useSignal(false);
  const turn = useRef(0);
  const input = useRef<HTMLInputElement>(null);
  // This runs after the effect of `Screen` that puts the focus on its title.
  useEffect(() => input.current?.focus(), []);
  const search = async (offset: number) => {
    const query = text.value.trim();
    turn.current += 1;
    const mine = turn.current;
    if (query === "") {
      found.value = null;
      more.value = false;
      return;
    }
    const next = await ask("search", { by: by.value, text: query, offset });
    // Another search has begun in the meantime.
    if (mine !== turn.current) return;
    found.value = [...(offset === 0 ? [] : (found.value ?? [])), ...next];
    more.value = next.length === AT_ONCE;
  };
  useEffect(() => {
    const timer = setTimeout(() => void attempt(search(0)), TYPED_MS);
    return () => clearTimeout(timer);
  }, [text.value, by.value]);
  const chosen = (kind: "name" | "email", label: string) => (
    <label class={by.value === kind ? "chosen" : ""}>
      <input type="radio" name="by" checked={by.value === kind} onChange={() => (by.value = kind)} />
      {label}
    </label>
  );
  return (
    <Screen title={t.value.searchFor}>
      <search>
        <input
          class="input"
          ref={input}
          type="search"
          aria-label={t.value.searchFor}
          placeholder={t.value.searchHint}
          value={text.value}
          maxLength={254}
          spellcheck={false}
          onInput={(event) => {
            text.value = event.currentTarget.value;
            if (text.value.includes("@")) by.value = "email";
          }}
        />
        <div class="segments" role="radiogroup" aria-label={t.value.searchFor}>
          {chosen("name", t.value.byName)}
          {chosen("email", t.value.byEmail)}
        </div>
      </search>
      <p class={found.value?.length === 0 ? "empty-note" : "visually-hidden"} role="status">
        {found.value && (found.value.length === 0 ? t.value.nothingFound : t.value.nFound(found.value.length))}
      </p>
      <ul class="list flat" onKeyDown={moveByArrows}>
        {found.value?.map((person) => <PersonRow key={person.user_id} person={person} />)}
      </ul>
      {more.value && (
        <Button kind="quiet" onClick={() => void attempt(search(found.value?.length ?? 0))}>
          {t.value.showMore}
        </Button>
      )}
    </Screen>
  );
}

/** A person in a list, with the actions for them. */
function PersonRow({ person }: { person: UserSummary }) {
  const { user_id: id, first_name, last_name, mutual_friend_count, description } = person;
  const name = t.value.fullName(first_name, last_name);
  return (
    <li class="row" data-row data-user={id}>
      <a class="main" href={to("user", id)}>
        <Avatar person={person} />
        <span class="text">
          <span class="name">
            <b>
              <bdi>{name}</bdi>
            </b>
          </span>
          <span class="note">{mutual_friend_count ? t.value.mutual(mutual_friend_count) : <Theirs text={description} max={80} />}</span>
        </span>
      </a>
      <Standing id={id} name={name} state={person.friendship_state} />
    </li>
  );
}

/** The state of the friendship with a user, as far as it is known, and its action. */
function Standing({ id, name, state }: { id: string; name: string; state: UserSummary["friendship_state"] }) {
  const { friends, requests, sentRequests } = scene.value;
  if (id === account.value?.user_id) return null;
  if (Object.hasOwn(friends, id) || (state === 2 && !scene.value.known)) return <span class="note">{t.value.areFriends}</span>;
  if (requests.some(({ user_id }) => user_id === id)) {
    return (
      <Button kind="primary" onClick={() => void attempt(ask("accept", { id }), t.value.accepted(name))}>
        {t.value.accept}
      </Button>
    );
  }
  if (sentRequests.some(({ user_id }) => user_id === id)) {
    return <Button onClick={() => void attempt(ask("end", { id }), t.value.takenBack)}>{t.value.takeBack}</Button>;
  }
  return <Button onClick={() => void attempt(ask("ask", { id }), t.value.askSent(name))}>{t.value.ask}</Button>;
}

export function Person({ id }: { id: string }) {
  const { friends, requests, sentRequests } = scene.value;
  // The profile is fetched again when the live channel changes the friendship, because the numbers may change with it.
  const standing = `${Object.hasOwn(friends, id)} ${requests.length} ${sentRequests.length}`;
  const fetched = useFetched<Profile | "none">(
    () => ask("profile", { id }).catch((error) => {
      if (error instanceof ActionError && error.failure.status === 404) return "none";
      throw error;
    }),
    [id, standing],
  );
  const profile = fetched.value;
  if (profile === undefined) {
    return (
      <Screen title={t.value.profile}>
        <Fetching fetched={fetched} />
      </Screen>
    );
  }
  if (profile === "none") {
    return (
      <Screen title={t.value.profile}>
        <p class="empty-note">{t.value.nobodyThere}</p>
      </Screen>
    );
  }
  return <Known profile={profile} />;
}

function Known({ profile: { user, friendCount, mutualCount } }: { profile: Profile }) {
  const blocking = useSignal(false);
  const list = useSignal<"friends" | "mutual-friends" | null>(null);
  const id = user.user_id;
  const name = t.value.fullName(user.first_name, user.last_name);
  const facts = [
    [t.value.born, user.dob],
    [t.value.gender, user.gender],
    [t.value.school, user.school],
    [t.value.work, user.work],
    [t.value.location, user.location],
  ] as const;
  const mine = id === account.value?.user_id;
  return (
    <Screen title={t.value.profile}>
      <div class="profile">
        <Avatar person={user} />
        <div class="text">
          <b class="big">
            <bdi>{name}</bdi>
          </b>
          <div class="note">
            {t.value.friendCount(friendCount)}
            {mutualCount > 0 && !mine && <> · {t.value.mutual(mutualCount)}</>}
          </div>
        </div>
      </div>
      {user.description && <TheirLines text={user.description} />}
      <dl class="facts">
        {facts.map(([label, value]) =>
          value ? (
            <div key={label}>
              <dt>{label}</dt>
              <dd>
                <Theirs text={value} />
              </dd>
            </div>
          ) : null,
        )}
      </dl>
      {mine ? (
        <p class="empty-note">{t.value.thisIsYou}</p>
      ) : (
        <div class="buttons start">
          <Standing id={id} name={name} state={user.friendship_state} />
          {Object.hasOwn(scene.value.friends, id) && <Button onClick={() => go("share", id)}>{t.value.sharePage}</Button>}
          <Button kind="quiet" onClick={() => (blocking.value = true)}>
            {t.value.block}
          </Button>
        </div>
      )}
      <div class="buttons start">
        <Button kind="quiet" aria-expanded={list.value === "friends"} onClick={() => (list.value = "friends")}>
          {t.value.friendCount(friendCount)}
        </Button>
        {!mine && mutualCount > 0 && (
          <Button kind="quiet" aria-expanded={list.value === "mutual-friends"} onClick={() => (list.value = "mutual-friends")}>
            {t.value.mutual(mutualCount)}
          </Button>
        )}
      </div>
      {list.value && <PeopleOf key={list.value} id={id} which={list.value} />}
      {blocking.value && (
        <Question
          title={t.value.blockTitle(name)}
          text={t.value.blockText}
          yes={t.value.block}
          danger
          onYes={async () => {
            blocking.value = false;
            if (await attempt(ask("block", { id, blocked: true }), t.value.blockedNow(name))) go("friends");
          }}
          onClose={() => (blocking.value = false)}
        />
      )}
    </Screen>
  );
}

function PeopleOf({ id, which }: { id: string; which: "friends" | "mutual-friends" }) {
  const people = usePaged((offset) => ask("people", { id, which, offset }), AT_ONCE, [id, which]);
  if (people.value === undefined) return <Fetching fetched={people} />;
  return (
    <>
      <ul class="list flat" onKeyDown={moveByArrows}>
        {people.value.map((person) => (
          <PersonRow key={person.user_id} person={person} />
        ))}
      </ul>
      <More paged={people} />
    </>
  );
}

export function Blocked() {
  const people = usePaged((offset) => ask("blocked", { offset }), AT_ONCE, []);
  const unblock = async (id: string) => {
    if (await attempt(ask("block", { id, blocked: false }))) people.again();
  };
  return (
    <Screen title={t.value.blockedPeople}>
      {(people.value === undefined || people.failed) && <Fetching fetched={people} />}
      {people.value?.length === 0 && <p class="empty-note">{t.value.nobodyBlocked}</p>}
      <ul class="list flat">
        {people.value?.map((person) => (
          <li class="row" key={person.user_id}>
            <span class="main">
              <Avatar person={person} />
              <span class="text">
                <b>
                  <bdi>{t.value.fullName(person.first_name, person.last_name)}</bdi>
                </b>
              </span>
            </span>
            <Button onClick={() => void unblock(person.user_id)}>{t.value.unblock}</Button>
          </li>
        ))}
      </ul>
      <More paged={people} />
    </Screen>
  );
}
