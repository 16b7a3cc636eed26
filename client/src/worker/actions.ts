/** Carries out the actions that views ask for, by calls of the REST API or of the engine. */

import { DOMAIN_LIST_LEN_MAX } from "../generated/constants";
import type { UserPrivate, UserUpdate } from "../generated/types";
import { type ActionName, type Args, CONSENT_VERSION, type Consent, type Result, isPaused } from "../scene";
import type { Engine } from "./engine";
import { readEntry, readPage, shownPage } from "./pages";
import { FailureError } from "./rest";
import { ACCOUNT, COUNT, PEOPLE, PUBLIC_USER, SENT, TEXT, TEXTS } from "./wire";

type Doing = { readonly [Name in ActionName]: (engine: Engine, args: Args<Name>) => Promise<Result<Name>> };

/** People and shares per page of a list. */
const PAGE_ITEMS = 20;
/** How long the address of a picture is used, in milliseconds. It is valid for an hour. */
const PICTURE_GOOD_MS = 3_000_000;

const pictures = new Map<string, { readonly url: string; readonly until: number }>();

export const ACTIONS: Doing = {
  "sign-in": async (engine) => {
    await engine.signInByWindow();
    return null;
  },
  "sign-in-address": (engine) => engine.session.begin(engine.platform.redirect),
  "sign-in-returned": async (engine, { url }) => {
    await engine.session.finish(url);
    await engine.signedIn();
    return null;
  },
  "sign-out": (engine) => engine.signOut(),

  register: async (engine, { firstName, lastName }) => {
    await engine.rest.fetch("POST /users/me", { body: { first_name: firstName, last_name: lastName } });
    await engine.signedIn();
    return null;
  },
  agree: async (engine, { choice }) => {
    const { account } = engine.scene;
    const by = account === null || account === "new" ? {} : { by: account.user_id };
    const consent: Consent = { version: CONSENT_VERSION, at: Date.now(), choice, ...by };
    await engine.platform.storage.set("consent", consent);
    engine.change({ sharing: { ...engine.scene.sharing, consent, permitted: await engine.platform.permitted() } });
    await engine.sharingChanged();
    return null;
  },
  pause: async (engine, { until }) => {
    const pause = isPaused(until, Date.now()) ? until : null;
    if (pause === null) await engine.platform.storage.remove("pause");
    else await engine.platform.storage.set("pause", pause);
    engine.change({ sharing: { ...engine.scene.sharing, pause } });
    await engine.sharingChanged();
    return null;
  },
  "set-invisible": async (engine, { invisible }) => {
    engine.setInvisible(invisible);
    return null;
  },
  prefer: async (engine, { changes }) => {
    const preferences = { ...engine.scene.preferences, ...changes };
    await engine.platform.storage.set("preferences", preferences);
    engine.change({ preferences });
    return null;
  },
  "connect-now": async (engine) => {
    engine.connectNow();
    return null;
  },

  "share-site": async (engine, { site, shared }) => {
    // In each mode one list decides: the allow list shows its sites, or the deny list hides its sites.
    await changeSites(engine, ({ share_mode }) =>
      share_mode === "default_none" ? { list: "allow", site, listed: shared } : { list: "deny", site, listed: !shared });
    return null;
  },
  "set-mode": async (engine, { mode }) => {
    await update(engine, { share_mode: mode });
    return null;
  },
  "list-site": async (engine, { list, site: entry, listed }) => {
    const site = readEntry(entry);
    if (site === undefined && listed) throw new FailureError({ why: "no-site" });
    // An entry is taken off as it stands on the list, which may hold one that would be read as another site today.
    await changeSites(engine, () => ({ list, site: listed ? (site ?? entry) : entry, listed }));
    return null;
  },
  "would-show": async (engine, { text }) => {
    // If a digit follows the colon, it begins a port. Else the text before the colon is a scheme.
    const address = /^[a-z][a-z0-9+.-]*:(?!\d)/i.test(text.trim()) ? text.trim() : `https://${text.trim()}`;
    const page = readPage(address, "");
    return { shown: page !== undefined && shownPage(rules(engine), address, "") !== undefined, site: page?.domain ?? readEntry(text) ?? null };
  },
  warnings: (engine) => engine.rest.call(TEXTS, "GET /domains/share/warnings"),

  "update-account": async (engine, { changes }) => {
    await update(engine, changes);
    return null;
  },
  "set-picture": async (engine, { picture, extension }) => {
    const body = typeof picture === "string" ? blobOf(picture) : picture;
    const url = await engine.rest.call(TEXT, "GET /users/me/profile-image-upload-url", { query: { image_ext: extension } });
    let uploaded: Response;
    try {
      uploaded = await fetch(url, { method: "PUT", body, headers: { "Content-Type": body.type }, credentials: "omit", referrerPolicy: "no-referrer" });
    } catch {
      throw new FailureError({ why: "offline" });
    }
    if (!uploaded.ok) throw new FailureError({ why: "refused", status: uploaded.status });
    pictures.clear();
    await engine.changeAccount(async (now) => now);
    return null;
  },
  "remove-picture": async (engine) => {
    await engine.rest.fetch("DELETE /users/me/profile-image");
    pictures.clear();
    await engine.changeAccount(async (now) => now);
    return null;
  },
  pictures: async (engine, { people }) => {
    const now = Date.now();
    const missing = people.filter(({ id, extension }) => (pictures.get(`${id}.${extension}`)?.until ?? 0) <= now);
    if (missing.length > 0) {
      const urls = await engine.rest.call(TEXTS, "GET /users/ids/{ids}/profile-image-url", {
        path: { ids: missing.map(({ id }) => id).join(",") },
        query: { image_ext_arr: missing.map(({ extension }) => extension).join(",") },
      });
      for (const { id, extension } of missing) {
        const url = urls[id];
        if (url !== undefined) pictures.set(`${id}.${extension}`, { url, until: now + PICTURE_GOOD_MS });
      }
    }
    return Object.fromEntries(people.flatMap(({ id, extension }) => {
      const picture = pictures.get(`${id}.${extension}`);
      return picture ? [[id, picture.url]] : [];
    }));
  },

  search: (engine, { by, text, offset }) =>
    engine.rest.call(PEOPLE, by === "email" ? "GET /users/search/email/{text}" : "GET /users/search/name/{text}", {
      path: { text },
      query: { limit: PAGE_ITEMS, offset },
    }),
  profile: async (engine, { id }) => {
    const path = { id };
    const [user, friends, mutual] = await Promise.all([
      engine.rest.call(PUBLIC_USER, "GET /users/id/{id}", { path }),
      engine.rest.call(COUNT, "GET /users/id/{id}/friends/count", { path }),
      engine.rest.call(COUNT, "GET /users/id/{id}/mutual-friends/count", { path }),
    ]);
    return { user, friendCount: friends.count, mutualCount: mutual.count };
  },
  people: (engine, { id, which, offset }) =>
    engine.rest.call(PEOPLE, which === "friends" ? "GET /users/id/{id}/friends" : "GET /users/id/{id}/mutual-friends", {
      path: { id },
      query: { limit: PAGE_ITEMS, offset },
    }),

  ask: async (engine, { id }) => {
    await engine.rest.fetch("POST /friendship/requests", { body: { user_id2: id } });
    await engine.fetchRequests();
    return null;
  },
  accept: async (engine, { id }) => {
    await engine.rest.fetch("POST /friendship/accept", { body: { user_id1: id } });
    await engine.fetchRequests();
    return null;
  },
  decline: async (engine, { id }) => {
    await engine.rest.fetch("DELETE /friendship/requests/{id}", { path: { id } });
    await engine.fetchRequests();
    return null;
  },
  end: async (engine, { id }) => {
    const { account } = engine.scene;
    if (account === null || account === "new") throw new FailureError({ why: "signed-out" });
    await engine.rest.fetch("POST /friendship/delete", { body: { user_id1: account.user_id, user_id2: id } });
    await engine.fetchRequests();
    return null;
  },
  block: async (engine, { id, blocked }) => {
    await engine.rest.fetch(blocked ? "PUT /friendship/blocks/{id}" : "DELETE /friendship/blocks/{id}", { path: { id } });
    await Promise.all([engine.fetchRequests(), engine.fetchReceived()]);
    return null;
  },
  blocked: (engine, { offset }) => engine.rest.call(PEOPLE, "GET /friendship/blocks", { query: { limit: PAGE_ITEMS, offset } }),

  share: async (engine, { url, title, to, key }) => {
    const page = { url, title };
    const headers = { "Idempotency-Key": key };
    if (to === null) await engine.rest.fetch("POST /notifications/share", { body: page, headers });
    else await engine.rest.fetch("POST /notifications/share/personal", { body: { ...page, sent_to: to }, headers });
    return null;
  },
  sent: (engine, { offset }) => engine.rest.call(SENT, "GET /notifications/share/sent", { query: { limit: PAGE_ITEMS, offset } }),
  read: async (engine, { events }) => {
    await engine.rest.fetch("POST /notifications/share/read", { body: events.map((event_id) => ({ event_id })) });
    const read = new Set(events);
    const seen_at = new Date().toISOString();
    engine.change({
      received: engine.scene.received.map((share) => (read.has(share.event_id) && share.seen_at === null ? { ...share, seen_at } : share)),
    });
    return null;
  },

  export: async (engine) => (await engine.rest.fetch("GET /users/me/export")).text(),
  "delete-account": async (engine) => {
    await engine.rest.fetch("DELETE /users/me");
    return engine.signOut();
  },
};

function rules(engine: Engine) {
  const known = engine.rules();
  if (known === undefined) throw new FailureError({ why: "offline" });
  return known;
}

/** The content of a base64 `data:` address. */
function blobOf(address: string): Blob {
  const [head = "", data = ""] = address.split(",");
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  return new Blob([bytes], { type: /^data:([^;]*)/.exec(head)?.[1] ?? "" });
}

/**
 * Puts a site on a list, or takes it off. The call replaces the whole list, so the new list is made from the server's current
 * one, which another device may have changed.
 */
async function changeSites(
  engine: Engine,
  change: (now: UserPrivate) => { readonly list: "allow" | "deny"; readonly site: string; readonly listed: boolean },
): Promise<void> {
  await engine.changeAccount(async (now) => {
    const { list, site, listed } = change(now);
    const others = (list === "allow" ? now.domain_allow_array : now.domain_deny_array).filter((other) => other !== site);
    if (listed && others.length >= DOMAIN_LIST_LEN_MAX) throw new FailureError({ why: "list-full" });
    return engine.rest.call(ACCOUNT, "PUT /users/me/domain_array/{list}", { path: { list }, body: listed ? [...others, site] : others });
  });
}

/** Changes fields of the account. The call replaces all fields, so the others are sent as the server has them now. */
async function update(engine: Engine, changes: Partial<UserUpdate>): Promise<void> {
  await engine.changeAccount((now) => engine.rest.call(ACCOUNT, "PUT /users/me", { body: updated(now, changes) }));
}

function updated(now: UserPrivate, changes: Partial<UserUpdate>): UserUpdate {
  return {
    first_name: now.first_name,
    last_name: now.last_name,
    description: now.description,
    share_mode: now.share_mode,
    domain_allow_array: now.domain_allow_array,
    domain_deny_array: now.domain_deny_array,
    gender: now.gender,
    school: now.school,
    work: now.work,
    location: now.location,
    email_public: now.email_public,
    gender_public: now.gender_public,
    school_public: now.school_public,
    work_public: now.work_public,
    location_public: now.location_public,
    dob: now.dob,
    dob_public: now.dob_public,
    ...changes,
  };
}
