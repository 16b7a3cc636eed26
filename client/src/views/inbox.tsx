/** Requests, and pages that friends send each other. */

import { ago } from "../i18n/times";
import type { ShareNotification, ShareNotificationSent, UserFriendRequest } from "../generated/types";
import { unread } from "../scene";
import { webAddress } from "../text";
import { Avatar, Button, Fetching, More, PageLine, moveByArrows, usePaged } from "./parts";
import { ask, scene, t } from "./port";
import { attempt, now, to } from "./state";

/** The most sent pages in one answer of the server. */
const SENT_AT_ONCE = 20;

export function Inbox() {
  const { requests, sentRequests } = scene.value;
  return (
    <main class="tab">
      <h1 class="visually-hidden">{t.value.inbox}</h1>
      <div class="list" onKeyDown={moveByArrows}>
        {requests.length > 0 && (
          <section>
            <h2>
              {t.value.requests} <span class="count">{requests.length}</span>
            </h2>
            <ul>{requests.map((request) => <Request key={request.user_id} request={request} />)}</ul>
          </section>
        )}
        {sentRequests.length > 0 && (
          <section>
            <h2>{t.value.requestsSent}</h2>
            <ul>{sentRequests.map((request) => <Request key={request.user_id} request={request} mine />)}</ul>
          </section>
        )}
        <Received />
        <Sent />
      </div>
    </main>
  );
}

function Request({ request, mine }: { request: UserFriendRequest; mine?: boolean }) {
  const { user_id: id, first_name, last_name, requested_at } = request;
  const name = t.value.fullName(first_name, last_name);
  return (
    <li class="row" data-row data-user={id}>
      <a class="main" href={to("user", id)}>
        <Avatar person={request} />
        <span class="text">
          <span class="name">
            <b>
              <bdi>{name}</bdi>
            </b>
            <small>{ago(Date.parse(requested_at), now.value, t.value.tag)}</small>
          </span>
        </span>
      </a>
      <div class="row-buttons">
        {mine ? (
          <Button onClick={() => void attempt(ask("end", { id }), t.value.takenBack)}>{t.value.takeBack}</Button>
        ) : (
          <>
            <Button kind="primary" onClick={() => void attempt(ask("accept", { id }), t.value.accepted(name))}>
              {t.value.accept}
            </Button>
            <Button onClick={() => void attempt(ask("decline", { id }), t.value.declined)}>{t.value.decline}</Button>
          </>
        )}
      </div>
    </li>
  );
}

function Received() {
  const { received } = scene.value;
  const fresh = unread(scene.value);
  const events = fresh.map(({ event_id }) => event_id);
  return (
    <section>
      <h2>
        <span>
          {t.value.received} {fresh.length > 0 && <span class="count">{t.value.nNew(fresh.length)}</span>}
        </span>
        {fresh.length > 0 && (
          <Button kind="quiet" small onClick={() => void attempt(ask("read", { events }))}>
            {t.value.markAllRead}
          </Button>
        )}
      </h2>
      {received.length === 0 ? (
        <p class="empty-note">{t.value.nothingReceived}</p>
      ) : (
        <ul>{received.map((share) => <Share key={share.event_id} share={share} />)}</ul>
      )}
    </section>
  );
}

function Share({ share }: { share: ShareNotification }) {
  const { event_id, first_name, last_name, sent_at, seen_at, url, title } = share;
  const address = webAddress(url);
  const isNew = seen_at === null;
  const content = (
    <>
      <Avatar person={share} small />
      <span class="text">
        <span class="name">
          <b>
            <bdi>{t.value.fullName(first_name, last_name)}</bdi>
          </b>
          <small>{ago(Date.parse(sent_at), now.value, t.value.tag)}</small>
        </span>
        {isNew && <span class="visually-hidden">{t.value.unread}</span>}
        <PageLine page={{ domain: siteOf(url), title: title || t.value.untitled }} />
      </span>
    </>
  );
  return (
    <li class={`row${isNew ? " unread" : ""}`} data-row data-share={event_id}>
      {address ? (
        <a
          class="main"
          href={address}
          target="_blank"
          rel="noopener noreferrer"
          onClick={() => isNew && void attempt(ask("read", { events: [event_id] }))}
          onAuxClick={() => isNew && void attempt(ask("read", { events: [event_id] }))}
        >
          {content}
        </a>
      ) : (
        <span class="main">{content}</span>
      )}
    </li>
  );
}

function Sent() {
  const sent = usePaged((offset) => ask("sent", { offset }), SENT_AT_ONCE, []);
  if (sent.value === undefined) return <Fetching fetched={sent} />;
  return (
    <section>
      <h2>{t.value.sent}</h2>
      {sent.value.length === 0 ? (
        <p class="empty-note">{t.value.nothingSent}</p>
      ) : (
        <ul>
          {sent.value.map((share) => (
            <SentShare key={share.event_id} share={share} />
          ))}
        </ul>
      )}
      <More paged={sent} />
    </section>
  );
}

function SentShare({ share: { url, title, sent_to, first_name, last_name, not_seen_count, recipient_count, sent_at } }: { share: ShareNotificationSent }) {
  const opened = recipient_count - not_seen_count;
  const whom = sent_to === null ? t.value.toAll : first_name === null ? t.value.toSomebody : t.value.toOne(t.value.fullName(first_name, last_name ?? ""));
  let how: string;
  if (recipient_count === 0) how = t.value.openedByNobody;
  else if (sent_to !== null) how = opened > 0 ? t.value.opened : t.value.notOpened;
  else how = opened === recipient_count ? t.value.openedByAll : t.value.openedBy(opened, recipient_count);
  return (
    <li class="row">
      <span class="text">
        <span class="name">
          <PageLine page={{ domain: siteOf(url), title: title || t.value.untitled }} />
          <small>{ago(Date.parse(sent_at), now.value, t.value.tag)}</small>
        </span>
        <span class="note">
          <bdi>{whom}</bdi> · {how}
        </span>
      </span>
    </li>
  );
}

/** The host of an address in its ASCII form (Punycode), so that letters that look alike cannot deceive. */
export function siteOf(url: string): string {
  return URL.canParse(url) ? new URL(url).hostname.replace(/^www\./, "") : "";
}
