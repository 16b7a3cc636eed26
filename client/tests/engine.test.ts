import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { UserPrivate } from "../src/generated/types";
import { CONSENT_VERSION, type Scene, type Told, patched } from "../src/scene";
import { Engine, WATCH_ON_MS } from "../src/worker/engine";
import { SETTLE_MS, type Tab } from "../src/worker/front";
import { Onlooker } from "../src/worker/onlooker";
import type { Notice, Platform } from "../src/worker/platform";
import { RENEW_BEFORE_MS } from "../src/worker/session";
import type { Kept } from "../src/worker/storage";

const ISSUER = "https://id.example.org";
const ORIGIN = "https://edge.example.org";
const HOUR_MS = 3_600_000;

/** The server's side of the live channel. */
class Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  readonly sent: Record<string, unknown>[] = [];
  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    sockets.push(this);
  }
  send(text: string) {
    const message = JSON.parse(text) as Record<string, unknown>;
    if (message.action !== "heartbeat") this.sent.push(message);
    else queueMicrotask(() => this.hear({ type: "heartbeat" }));
  }
  hear(message: object) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  close() {}
}

let sockets: Socket[];
let kept: Partial<Kept>;
let front: Tab | null;
let permitted: boolean;
let mayNotify: boolean;
let idle: boolean;
/** The addresses that were visited to end the provider's session. */
let ended: string[];
let badge: [number, unknown];
let notices: Notice[];
let account: UserPrivate;
/** The calls to the server and the provider. */
let asked: string[];
/** The state of the provider: whether it accepts the refresh token, and whether it answers at all. */
let provider: "good" | "refuses" | "busy" | "away";
let engine: Engine;

const platform: Platform = {
  storage: {
    get: async (name) => kept[name],
    set: async (name, value) => void (kept[name] = value),
    remove: async (...names) => names.forEach((name) => delete kept[name]),
  },
  redirect: "https://back.example.org/",
  sharesPages: true,
  authorize: () => Promise.reject(new Error("no window here")),
  endSession: async (address) => {
    ended.push(address);
    return null;
  },
  keepAwake: () => undefined,
  keepWaking: () => undefined,
  permitted: async () => permitted,
  mayNotify: async () => mayNotify,
  idle: async () => idle,
  front: async () => front,
  badge: (...now) => void (badge = now),
  notify: (notice) => void notices.push(notice),
};

function tokens(number: number, validForMs = HOUR_MS): Kept["tokens"] {
  return { idToken: `token-${number}`, refreshToken: "refresh", renewAt: Date.now() + validForMs - RENEW_BEFORE_MS, expiresAt: Date.now() + validForMs };
}

const encoded = (value: object) => btoa(JSON.stringify(value)).replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_");
let issued = 1;
/** The life of tokens, in seconds. */
let lifeS: number;

/** An ID token as a provider issues it. Its signature is not checked here. */
function idToken(): string {
  issued += 1;
  const now = Math.floor(Date.now() / 1_000);
  return `${encoded({ alg: "RS256" })}.${encoded({ iss: ISSUER, aud: "client", sub: "me", iat: now, exp: now + lifeS, number: issued })}.c2ln`;
}

const json = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });

async function answer(input: string | URL | Request): Promise<Response> {
  const { origin, pathname } = new URL(input instanceof Request ? input.url : input);
  asked.push(pathname);
  if (origin === ISSUER) {
    if (provider === "away") throw new TypeError("no network");
    if (pathname.startsWith("/.well-known")) {
      const endpoints = ["authorization", "token", "revocation", "end_session"].map((name) => [`${name}_endpoint`, `${ISSUER}/${name}`]);
      return json({ issuer: ISSUER, ...Object.fromEntries(endpoints), token_endpoint: `${ISSUER}/token` });
    }
    if (pathname === "/revocation") return provider === "good" ? new Response(null, { status: 200 }) : json({ error: "unsupported_token_type" }, 400);
    if (provider === "busy") return json({ error: "slow_down" }, 429);
    if (provider === "refuses") return json({ error: "invalid_grant" }, 400);
    return json({ access_token: "a", token_type: "bearer", id_token: idToken() });
  }
  if (pathname === "/users/me") return json(account);
  return json([]);
}

const me = (page: object | null) => ({ userId: "me", page, latestPage: null, at: null, lastSeenAt: null, idle: false, idleSince: null });
const snapshot = (version = 1) => ({
  type: "presence-snapshot", userPresence: me({ url: "", title: "", domain: "" }), presenceArr: [],
  userInfoMap: { me: { user_id: "me", first_name: "Me", last_name: "", profile_image_extension: null } }, version,
});

const last = () => sockets.at(-1) ?? expect.fail("no socket");
const pages = (socket = last()) => socket.sent.filter(({ action }) => action === "update-presence").map(({ url }) => url);
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** Starts the worker, or starts it again after the browser ended it. */
async function start() {
  engine = new Engine(platform, { origin: ORIGIN, issuer: ISSUER, clientId: "client" });
  await pass(0);
  last().onopen?.();
  await pass(0);
}

async function turnTo(url: string, title = "") {
  front = { url, title };
  await engine.frontChanged();
  await pass(SETTLE_MS);
}

/** Opens a view. The result holds the scene as the view would draw it. */
async function look() {
  const view = { scene: undefined as Scene | undefined, told: [] as Told[], leave: () => undefined as void };
  view.leave = await engine.look({
    tell: (told) => {
      view.told.push(told);
      if (told.is === "scene") view.scene = told.scene;
      if (told.is === "patch" && view.scene) view.scene = patched(view.scene, told);
    },
  });
  return view;
}

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2026, 0, 1) });
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  vi.stubGlobal("WebSocket", Socket);
  vi.stubGlobal("fetch", answer);
  vi.stubGlobal("navigator", { locks: { request: (_: string, run: () => unknown) => run() } });
  sockets = [];
  kept = { tokens: tokens(1), consent: { version: CONSENT_VERSION, at: 0, choice: "share" } };
  front = { url: "https://github.com/one", title: "One" };
  [permitted, mayNotify, idle, asked, notices, ended, provider] = [true, false, false, [], [], [], "good"];
  lifeS = 3_600;
  account = {
    user_id: "me", first_name: "Me", last_name: "", description: "", email: "me@example.org", profile_image_uploaded_at: null, profile_image_extension: null,
    friendship_state: null, mutual_friend_count: null, email_public: false, dob_public: false, gender_public: false, school_public: false, work_public: false,
    location_public: false, dob: null, gender: null, school: null, work: null, location: null,
    share_mode: "default_none", domain_allow_array: ["github.com"], domain_deny_array: [],
  };
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

test("no page is sent before the rules of the server are known", async () => {
  let tell: (() => void) | undefined;
  vi.stubGlobal("fetch", async (input: URL) => {
    if (input.pathname === "/users/me") await new Promise<void>((resolve) => (tell = resolve));
    return answer(input);
  });
  // The stored scene allows the page. In the meantime another device took the site off the list.
  kept.scene = { ...engineScene(), account: { ...account, domain_allow_array: ["github.com"] } };
  account.domain_allow_array = [];
  await start();
  last().hear(snapshot());
  await pass(60_000);
  expect(pages()).toEqual([]);
  tell?.();
  await pass(60_000);
  // An earlier worker of a browser that shares may have left a page with the server, so it is hidden.
  expect(pages()).toEqual([""]);
});

test("an account that could not be fetched while the core was away is fetched later, and then the page is shared", async () => {
  vi.stubGlobal("fetch", async () => json({ status: 503 }, 503));
  await start();
  last().hear(snapshot());
  await pass(0);
  vi.stubGlobal("fetch", answer);
  expect(pages()).toEqual([]);
  await engine.wake();
  expect(pages()).toEqual(["https://github.com/one"]);
  const before = asked.length;
  await engine.wake();
  expect(asked).toHaveLength(before);
});

/** A scene as an earlier worker stored it. */
function engineScene(): Scene {
  return {
    signIn: { is: "in" }, link: { is: "off" }, asOf: 1, account: null, own: null, friends: {}, known: false, requests: [], sentRequests: [], received: [],
    sharing: { consent: null, permitted: false, pause: null, front: null }, preferences: { notifications: false, language: null, theme: null }, mayNotify: false,
  };
}

test("the first page is sent at once, the next one after it has stayed, and a hidden page hides at once", async () => {
  await start();
  last().hear(snapshot());
  await pass(0);
  expect(pages()).toEqual(["https://github.com/one"]);
  await turnTo("https://github.com/two");
  expect(pages()).toEqual(["https://github.com/one", "https://github.com/two"]);
  front = { url: "https://bank.example.com/secret", title: "My account" };
  await engine.frontChanged();
  expect(pages().at(-1)).toBe("");
  await pass(60_000);
  expect(JSON.stringify(last().sent)).not.toMatch(/bank|secret|account/i);
});

test("an older answer of the browser that arrives after a newer one is ignored", async () => {
  await start();
  last().hear(snapshot());
  await pass(0);
  let late: ((tab: Tab) => void) | undefined;
  const ask = vi.spyOn(platform, "front").mockImplementationOnce(() => new Promise((resolve) => (late = resolve)));
  const older = engine.frontChanged();
  await pass(0);
  front = { url: "https://bank.example.com/", title: "My account" };
  await engine.frontChanged();
  late?.({ url: "https://github.com/before", title: "Before" });
  await older;
  await pass(60_000);
  expect(ask).toHaveBeenCalled();
  expect(pages()).toEqual(["https://github.com/one", ""]);
});

test("if the browser cannot say which page is in front, the page is hidden", async () => {
  await start();
  last().hear(snapshot());
  await pass(0);
  vi.spyOn(platform, "front").mockRejectedValueOnce(new Error("no such window"));
  await engine.frontChanged().catch(() => undefined);
  expect(pages()).toEqual(["https://github.com/one", ""]);
});

test("the page is hidden when its tab and the window are closed", async () => {
  await start();
  last().hear(snapshot());
  await pass(0);
  front = null;
  await engine.frontChanged();
  expect(pages()).toEqual(["https://github.com/one", ""]);
});

test("after a reconnect the page is sent again, and is not hidden in between", async () => {
  await start();
  last().hear(snapshot());
  await pass(0);
  last().onclose?.({ code: 1012 });
  await pass(10_000);
  expect(sockets).toHaveLength(2);
  last().onopen?.();
  last().hear(snapshot());
  await pass(0);
  expect(pages()).toEqual(["https://github.com/one"]);
});

test("a person who only sees friends sends no page, not even an empty one, which would hide another browser's page", async () => {
  kept.consent = { version: CONSENT_VERSION, at: 0, choice: "watch" };
  await start();
  last().hear(snapshot());
  await turnTo("https://github.com/two");
  expect(pages()).toEqual([]);
});

test.each([
  ["an agreement to something else than is asked today", () => void (kept.consent = { version: CONSENT_VERSION - 1, at: 0, choice: "share" as const })],
  ["no agreement", () => void delete kept.consent],
  ["a permission that was taken back", () => void (permitted = false)],
])("with %s nothing is shared", async (_, change) => {
  change();
  await start();
  last().hear(snapshot());
  await turnTo("https://github.com/two");
  expect(pages().filter((url) => url !== "")).toEqual([]);
});

test("a pause hides the page, outlives the worker, and ends by itself", async () => {
  await start();
  last().hear(snapshot());
  await pass(0);
  await engine.do("pause", { until: Date.now() + HOUR_MS });
  expect(pages()).toEqual(["https://github.com/one", ""]);
  expect(badge[1]).not.toBeNull();
  await start();
  last().hear(snapshot());
  await turnTo("https://github.com/two");
  // The first message hides the page that the earlier worker may have left.
  expect(pages().filter((url) => url !== "")).toEqual([]);
  await pass(HOUR_MS);
  expect(pages().at(-1)).toBe("https://github.com/two");
  expect([badge[1], kept.pause]).toEqual([null, undefined]);
});

test("page changes of friends are watched while a view is open, and ten seconds longer", async () => {
  await start();
  const watched = () => last().sent.filter(({ action }) => action === "watch").map(({ watching }) => watching);
  expect(watched()).toEqual([false]);
  const view = await look();
  expect(watched()).toEqual([false, true]);
  view.leave();
  await pass(WATCH_ON_MS - 1);
  const again = await look();
  again.leave();
  await pass(WATCH_ON_MS);
  expect(watched()).toEqual([false, true, false]);
});

test("with a view open from the start, no `watch` is sent, because a new socket watches", async () => {
  engine = new Engine(platform, { origin: ORIGIN, issuer: ISSUER, clientId: "client" });
  await look();
  last().onopen?.();
  await pass(0);
  expect(last().sent.filter(({ action }) => action === "watch")).toEqual([]);
});

test("a token is replaced once before it expires, even if many calls need it, and the open socket gets it", async () => {
  await start();
  await pass(HOUR_MS - RENEW_BEFORE_MS);
  await Promise.all([engine.wake(), engine.wake(), engine.token(), engine.token()]);
  expect(asked.filter((path) => path === "/token")).toHaveLength(1);
  expect(last().sent.filter(({ action }) => action === "authenticate")).toEqual([{ action: "authenticate", token: kept.tokens?.idToken }]);
  expect(kept.tokens?.idToken).not.toBe("token-1");
  expect(kept.tokens?.refreshToken).toBe("refresh");
});

test("tokens with a life of five minutes are replaced after half of it, and not at every call", async () => {
  lifeS = 300;
  provider = "good";
  await start();
  await pass(HOUR_MS);
  await engine.token();
  const refreshed = () => asked.filter((path) => path === "/token").length;
  expect(refreshed()).toBe(1);
  await pass(140_000);
  for (let call = 0; call < 10; call += 1) await engine.token();
  expect(refreshed()).toBe(1);
  await pass(20_000);
  await engine.token();
  expect(refreshed()).toBe(2);
});

test("a token that the server refuses is replaced, and the call is made once more", async () => {
  await start();
  let refused = 0;
  vi.stubGlobal("fetch", (input: URL) => {
    if (input.pathname !== "/friendship/blocks") return answer(input);
    refused += 1;
    return Promise.resolve(refused === 1 ? json({ status: 401 }, 401) : json([]));
  });
  expect(await engine.do("blocked", { offset: 0 })).toEqual([]);
  expect([refused, asked.filter((path) => path === "/token").length]).toEqual([2, 1]);
});

test("while the provider is away, the token is used until it expires, and the session survives that", async () => {
  provider = "away";
  await start();
  await pass(HOUR_MS - RENEW_BEFORE_MS);
  expect(await engine.token()).toBe("token-1");
  await pass(RENEW_BEFORE_MS);
  await expect(engine.token()).rejects.toThrow("unreachable");
  expect(kept.tokens).toBeDefined();
  provider = "good";
  await expect(engine.token()).resolves.toContain(".");
});

test("if the provider ended the session, the view says so, and the person is forgotten", async () => {
  provider = "refuses";
  await start();
  last().hear(snapshot());
  await pass(0);
  const view = await look();
  await pass(HOUR_MS);
  await engine.wake();
  expect(view.scene).toMatchObject({ signIn: { is: "out", why: "ended" }, account: null, own: null, friends: {} });
  expect([kept.tokens, kept.scene]).toEqual([undefined, undefined]);
});

test("only shares and requests of the live channel are announced, and only if the person wants that", async () => {
  const share = (event_id: string) => ({
    event_id, user_id: "bob", sent_at: "2026-01-01T00:00:00Z", url: "https://example.com/", title: "\u202Epage", seen_at: null, first_name: "Bob", last_name: "", profile_image_extension: null,
  });
  await start();
  last().hear({ type: "share-notification", notification: share("1") });
  expect(notices).toEqual([]);
  await engine.do("prefer", { changes: { notifications: true } });
  last().hear({ type: "share-notification", notification: share("2") });
  expect(notices.map(({ id, text }) => [id, text])).toEqual([["2", "page"]]);
  // After a reconnect the lists are fetched, which hold old shares too.
  vi.stubGlobal("fetch", (input: URL) => (input.pathname === "/notifications/share" ? Promise.resolve(json([share("1"), share("2"), share("3")])) : answer(input)));
  last().onclose?.({ code: 1012 });
  await pass(10_000);
  last().onopen?.();
  last().hear(snapshot());
  await pass(0);
  expect(engine.scene.received).toHaveLength(3);
  expect(badge[0]).toBe(3);
  expect(notices).toHaveLength(1);
});

test("a worker that is started again keeps the sign-in, the consent, and the stored scene", async () => {
  await start();
  last().hear(snapshot());
  await pass(5_000);
  await start();
  const view = await look();
  expect(view.scene).toMatchObject({ signIn: { is: "in" }, known: true, account: { user_id: "me" }, sharing: { consent: { choice: "share" } } });
});

test("signing out says goodbye, and removes everything about the person except the consent in this browser", async () => {
  await start();
  last().hear(snapshot());
  await pass(5_000);
  await engine.do("sign-out", {});
  await pass(5_000);
  expect(last().sent.at(-1)).toEqual({ action: "goodbye" });
  expect(Object.keys(kept)).toEqual(["consent"]);
});

test("a person who has not registered has no live channel", async () => {
  vi.stubGlobal("fetch", (input: URL) => (input.pathname === "/users/me" ? Promise.resolve(json({ status: 404 }, 404)) : answer(input)));
  engine = new Engine(platform, { origin: ORIGIN, issuer: ISSUER, clientId: "client" });
  await pass(0);
  last().onclose?.({ code: 1006 });
  await pass(600_000);
  expect(engine.scene.account).toBe("new");
  expect(engine.scene.link.is).toBe("off");
  expect(sockets).toHaveLength(1);
});

test("a failed action tells why: the server's explanation and fields, or that the server was not reached", async () => {
  await start();
  const view = await look();
  const outcome = async () => {
    await engine.ask({ tell: (told) => view.told.push(told) }, { id: 7, name: "list-site", args: { list: "allow", site: "example.com", listed: true } });
    return view.told.at(-1);
  };
  vi.stubGlobal("fetch", async () => json({ status: 422, detail: "Not valid.", errors: [{ field: "[0]", message: "is no site" }] }, 422));
  expect(await outcome()).toEqual({ is: "failed", id: 7, failure: { why: "refused", status: 422, detail: "Not valid.", fields: [{ field: "[0]", message: "is no site" }] } });
  vi.stubGlobal("fetch", async () => Promise.reject(new TypeError("no network")));
  expect(await outcome()).toEqual({ is: "failed", id: 7, failure: { why: "offline" } });
});

/** Changes the answer to one path. All other paths are answered as before. */
function answerAt(path: string, how: (request: Request) => Response | Promise<Response>) {
  vi.stubGlobal("fetch", (input: URL, init: RequestInit) => (input.pathname === path ? Promise.resolve(how(new Request(input, init))) : answer(input)));
}

async function reconnect(version = 1) {
  last().onclose?.({ code: 1012 });
  await pass(10_000);
  last().onopen?.();
  await pass(0);
  last().hear(snapshot(version));
  await pass(0);
}

const request = (user_id: string) => ({
  user_id, first_name: user_id, last_name: "", description: "", profile_image_uploaded_at: null, profile_image_extension: null, requested_at: "2026-01-01T00:00:00Z",
});
const shareOf = (event_id: string) => ({
  event_id, user_id: "bob", sent_at: "2026-01-01T00:00:00Z", url: "https://example.com/", title: "", seen_at: null, first_name: "Bob", last_name: "", profile_image_extension: null,
});

test("requests that came while the channel was closed are fetched after a reconnect, even without a new version", async () => {
  await start();
  last().hear(snapshot());
  await pass(0);
  answerAt("/friendship/requests", () => json([request("dana")]));
  await reconnect();
  expect(engine.scene.requests.map(({ user_id }) => user_id)).toEqual(["dana"]);
  expect(badge[0]).toBe(1);
});

test("a live message that arrives while its list is fetched is in the list afterwards", async () => {
  await start();
  let fetches = 0;
  answerAt("/notifications/share", async () => {
    fetches += 1;
    if (fetches > 1) return json([shareOf("2"), shareOf("1")]);
    last().hear({ type: "share-notification", notification: shareOf("2") });
    return json([shareOf("1")]);
  });
  last().hear(snapshot());
  await pass(0);
  expect([fetches, engine.scene.received.map(({ event_id }) => event_id)]).toEqual([2, ["2", "1"]]);
});

test("after a reconnect no page is judged by old rules, which another device may have changed", async () => {
  await start();
  last().hear(snapshot());
  await pass(0);
  last().onclose?.({ code: 1012 });
  account.domain_allow_array = [];
  await pass(10_000);
  last().onopen?.();
  await turnTo("https://github.com/two");
  expect(pages()).toEqual([]);
  last().hear(snapshot(2));
  await pass(60_000);
  expect(pages()).toEqual([""]);
});

test("the connection is shown as open only after its snapshot, because the scene is old before that", async () => {
  await start();
  expect(engine.scene.link.is).toBe("connecting");
  last().hear(snapshot());
  expect(engine.scene.link.is).toBe("open");
  last().onclose?.({ code: 1012 });
  await pass(10_000);
  last().onopen?.();
  expect(engine.scene.link.is).toBe("connecting");
});

test("a site is taken off the list as it is on the server, where another device may have changed it", async () => {
  account.domain_allow_array = ["github.com", "reddit.com", "example.com"];
  await start();
  last().hear(snapshot());
  await pass(0);
  account.domain_allow_array = ["github.com", "reddit.com", "example.net"];
  answerAt("/users/me/domain_array/allow", async (put) => {
    account = { ...account, domain_allow_array: (await put.json()) as string[] };
    return json(account);
  });
  const off = (site: string) => engine.do("list-site", { list: "allow", site, listed: false });
  await Promise.all([off("github.com"), off("reddit.com"), engine.do("share-site", { site: "example.org", shared: true })]);
  expect(account.domain_allow_array).toEqual(["example.net", "example.org"]);
  await expect(engine.do("list-site", { list: "allow", site: "not a site", listed: true })).rejects.toMatchObject({ failure: { why: "no-site" } });
  // An entry that would be read as another site is taken off as it stands.
  account.domain_allow_array = ["docs.example.org", "example.org"];
  await off("docs.example.org");
  expect(account.domain_allow_array).toEqual(["example.org"]);
  account.domain_allow_array = Array.from({ length: 1_000 }, (_, n) => `site-${n}.com`);
  await expect(engine.do("list-site", { list: "allow", site: "example.com", listed: true })).rejects.toMatchObject({ failure: { why: "list-full" } });
});

/** A replacement of `navigator.locks`, which gives one lock at a time as browsers do. */
function withLocks() {
  let turn: Promise<unknown> = Promise.resolve();
  vi.stubGlobal("navigator", { locks: { request: (_: string, run: () => Promise<unknown>) => (turn = turn.catch(() => undefined).then(run)) } });
}

test("a person who signs out while the token is replaced stays signed out", async () => {
  withLocks();
  await start();
  last().hear(snapshot());
  await pass(HOUR_MS - RENEW_BEFORE_MS);
  let give: (() => void) | undefined;
  const before = fetch;
  vi.stubGlobal("fetch", async (input: URL) => {
    const { pathname } = new URL(input);
    if (pathname === "/token") await new Promise<void>((resolve) => (give = resolve));
    return before(input);
  });
  const woken = engine.wake();
  await pass(0);
  const out = engine.do("sign-out", {});
  await pass(0);
  give?.();
  await Promise.all([woken, out]);
  await pass(60_000);
  expect([kept.tokens, engine.scene.signIn, engine.scene.link, sockets.length]).toEqual([undefined, { is: "out" }, { is: "off" }, 1]);
  expect(asked).toContain("/revocation");
});

test("the provider's session is ended even if the token cannot be revoked", async () => {
  await start();
  provider = "busy";
  await engine.do("sign-out", {});
  expect(ended.map((address) => new URL(address).pathname)).toEqual(["/end_session"]);
});

test("an answer to a call from before a sign-out does not reach the next person", async () => {
  await start();
  let give: (() => void) | undefined;
  answerAt("/notifications/share", async () => {
    await new Promise<void>((resolve) => (give = resolve));
    return json([shareOf("1")]);
  });
  last().hear(snapshot());
  await pass(0);
  await engine.do("sign-out", {});
  give?.();
  await pass(5_000);
  expect([engine.scene.received, badge[0], kept.scene]).toEqual([[], 0, undefined]);
});

test("a provider that says it was asked too often does not end the session", async () => {
  provider = "busy";
  await start();
  await pass(HOUR_MS);
  await expect(engine.token()).rejects.toThrow("unreachable");
  expect([kept.tokens !== undefined, engine.scene.signIn]).toEqual([true, { is: "in" }]);
});

test("two sign-ins that were begun in two tabs can both be completed", async () => {
  delete kept.tokens;
  engine = new Engine(platform, { origin: ORIGIN, issuer: ISSUER, clientId: "client" });
  await pass(0);
  const states = [];
  for (let tab = 0; tab < 2; tab += 1) states.push(new URL(await engine.do("sign-in-address", {})).searchParams.get("state"));
  const back = (state: string | null) => engine.do("sign-in-returned", { url: `https://back.example.org/?code=c&state=${state}` });
  await expect(back("of somebody else")).rejects.toThrow("refused");
  await back(states[0] ?? null);
  expect(engine.scene.signIn).toEqual({ is: "in" });
  await back(states[1] ?? null);
  expect(kept.pending).toEqual([]);
});

test("a second sign-in while a window is open uses that window", async () => {
  delete kept.tokens;
  let windows = 0;
  vi.spyOn(platform, "authorize").mockImplementation(async (address) => {
    windows += 1;
    return `https://back.example.org/?code=c&state=${new URL(address).searchParams.get("state")}`;
  });
  engine = new Engine(platform, { origin: ORIGIN, issuer: ISSUER, clientId: "client" });
  await Promise.all([engine.do("sign-in", {}), engine.do("sign-in", {})]);
  expect([windows, engine.scene.signIn]).toEqual([1, { is: "in" }]);
});

test("for a person who has not registered no connection is tried, until they open a view again", async () => {
  answerAt("/users/me", () => json({ status: 404 }, 404));
  engine = new Engine(platform, { origin: ORIGIN, issuer: ISSUER, clientId: "client" });
  await pass(0);
  last().onclose?.({ code: 1006 });
  await pass(0);
  const before = asked.length;
  for (let time = 0; time < 20; time += 1) await engine.wake();
  expect([sockets.length, asked.length]).toEqual([1, before]);
  // They registered on another device.
  vi.stubGlobal("fetch", answer);
  await look();
  await pass(0);
  expect(sockets).toHaveLength(2);
});

test("a worker that is started again waits for the rest of the earlier worker's wait", async () => {
  await start();
  for (let time = 0; time < 8; time += 1) {
    last().onclose?.({ code: 1006 });
    await pass(0);
    const { link } = engine.scene;
    if (time < 7 && link.is === "waiting") await pass(link.until - Date.now());
  }
  const { link } = engine.scene;
  const opened = sockets.length;
  engine = new Engine(platform, { origin: ORIGIN, issuer: ISSUER, clientId: "client" });
  await pass(1_000);
  expect([sockets.length, engine.scene.link]).toEqual([opened, link]);
  // A view that was open before the worker ended does not end the wait. A person who opens a view does.
  await engine.look({ tell: () => undefined }, true);
  await pass(0);
  expect(sockets).toHaveLength(opened);
  await look();
  await pass(0);
  expect(sockets).toHaveLength(opened + 1);
});

test("a browser whose socket was closed for newer ones does not connect when its worker starts again", async () => {
  await start();
  last().onclose?.({ code: 4409 });
  await pass(0);
  engine = new Engine(platform, { origin: ORIGIN, issuer: ISSUER, clientId: "client" });
  await pass(HOUR_MS);
  await engine.wake();
  expect([sockets.length, engine.scene.link]).toEqual([1, { is: "stopped", why: "elsewhere" }]);
});

test("a view that went away gets no messages, and gets the whole scene when it is back", async () => {
  await start();
  last().hear(snapshot());
  await pass(0);
  const told: Told[] = [];
  let closed = false;
  const onlooker = new Onlooker(engine, (message) => {
    if (closed) throw new Error("the port is closed");
    told.push(message);
  });
  onlooker.look();
  onlooker.leave();
  closed = true;
  await pass(0);
  await engine.do("pause", { until: "resumed" });
  expect(told).toEqual([]);
  await pass(WATCH_ON_MS);
  const watched = () => last().sent.filter(({ action }) => action === "watch").map(({ watching }) => watching);
  expect(watched().at(-1)).toBe(false);
  closed = false;
  onlooker.look();
  onlooker.look();
  await pass(0);
  expect(told.map(({ is }) => is)).toEqual(["scene"]);
  expect(watched().at(-1)).toBe(true);
});

test("if the storage cannot be read, the view says so, and it is read again for the next view", async () => {
  const get = vi.spyOn(platform.storage, "get").mockRejectedValue(new Error("no space"));
  engine = new Engine(platform, { origin: ORIGIN, issuer: ISSUER, clientId: "client" });
  const told: Told[] = [];
  const onlooker = new Onlooker(engine, (message) => told.push(message));
  onlooker.look();
  await pass(0);
  expect(told).toEqual([{ is: "broken" }]);
  get.mockRestore();
  onlooker.look();
  await pass(0);
  expect(told.at(-1)).toMatchObject({ is: "scene" });
});

test("a person who was idle when the worker ended is idle when it starts again", async () => {
  idle = true;
  await start();
  expect(last().sent).toContainEqual({ action: "set-idle", idle: true });
});

test("a page that was shared under an older consent is hidden, even while the core is away", async () => {
  vi.stubGlobal("fetch", async () => json({ status: 503 }, 503));
  kept.consent = { version: CONSENT_VERSION - 1, at: 0, choice: "share" };
  await start();
  last().hear(snapshot());
  await pass(0);
  await engine.sharingChanged();
  expect(pages()).toEqual([""]);
});

test("another person who signs in here is asked for consent, and shares nothing before that", async () => {
  await start();
  last().hear(snapshot());
  await pass(0);
  expect(kept.consent).toMatchObject({ choice: "share", by: "me" });
  await engine.do("sign-out", {});
  kept.tokens = tokens(2);
  account = { ...account, user_id: "somebody" };
  await start();
  last().hear(snapshot());
  await turnTo("https://github.com/two");
  expect([engine.scene.sharing.consent, kept.consent]).toEqual([null, undefined]);
  // Not even an empty page, which would hide what another browser of theirs shows.
  expect(pages()).toEqual([]);
});

test("an account that does not match the contract gives no rules, and nothing is shared", async () => {
  account = { ...account, share_mode: "default_some" as never };
  await start();
  last().hear(snapshot());
  await turnTo("https://github.com/two");
  expect(pages()).toEqual([]);
});

test("the permission for notifications is known as soon as it is given", async () => {
  await start();
  expect(engine.scene.mayNotify).toBe(false);
  mayNotify = true;
  await engine.permissionsChanged();
  expect(engine.scene.mayNotify).toBe(true);
});

test("a provider that leaves the ID token out of a refresh ends the session, and does not seem to be away", async () => {
  await start();
  const before = fetch;
  vi.stubGlobal("fetch", async (input: URL) =>
    new URL(input).pathname === "/token" ? json({ access_token: "a", token_type: "bearer", refresh_token: "next" }) : before(input));
  await pass(HOUR_MS);
  await expect(engine.token()).rejects.toThrow("ended");
  expect([kept.tokens, engine.scene.signIn]).toEqual([undefined, { is: "out", why: "ended" }]);
});

test("what is drawn was true until the connection was lost", async () => {
  await start();
  last().hear(snapshot());
  await pass(HOUR_MS / 2);
  last().onclose?.({ code: 1012 });
  expect(engine.scene.asOf).toBe(Date.now());
});
