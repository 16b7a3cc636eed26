/** The worker's one owner of everything: what is known, who is signed in, the live channel, and the views that look on. */

import type { ServerMessage, UserId, UserPrivate } from "../generated/types";
import {
  type ActionName,
  type Args,
  type Asked,
  EMPTY_SCENE,
  type Failure,
  type Link,
  type Moment,
  type Result,
  type Scene,
  type Told,
  difference,
  isPaused,
  shares,
  waiting,
} from "../scene";
import { clean } from "../text";
import { ACTIONS } from "./actions";
import { Connection, type Refusal } from "./connection";
import { Settling, type Tab } from "./front";
import { type Rules, shownPage, readPage } from "./pages";
import type { Platform } from "./platform";
import { type Live, NOTHING_LIVE, RECEIVED_MAX, draw, reduce, reduceLists } from "./presence";
import { FailureError, Rest } from "./rest";
import { Session, SessionError } from "./session";
import { ACCOUNT, REQUESTS, SHARES } from "./wire";

/** How long after the last view closed the server still tells of page changes. */
export const WATCH_ON_MS = 10_000;
/** How often a list is fetched again because the live channel changed it meanwhile. */
const FETCHES_MAX = 3;

/** A port to a view, as `chrome.runtime` and `MessagePort` both can give. */
export interface View {
  /** Must not throw. */
  tell(told: Told): void;
}

export class Engine {
  readonly rest: Rest;
  readonly session: Session;
  readonly #connection: Connection;
  readonly #views = new Set<View>();
  readonly #settling = new Settling();
  #scene: Scene = EMPTY_SCENE;
  #live: Live = NOTHING_LIVE;
  /** The version of the social lists that the account was fetched at. */
  #fetchedVersion = -1;
  /** Whether the rules are the server's of now: another device may change them while no socket is open. Until they are, no page is sent. */
  #rulesKnown = false;
  /** Whether requests and shares are fetched that came while the channel was closed. No version tells of them. */
  #listsKnown = false;
  /** How many messages of the live channel changed a list. */
  #listChanges = 0;
  /** How often somebody signed out. An answer to what was asked before is nothing to the next person. */
  #signOuts = 0;
  /** The page that the open socket was told last, so that it is told nothing twice. Null: nothing yet. */
  #told: string | null = null;
  /** Whether a socket of this browser may have left a page with the server, which shows it through a reconnect. */
  #leftPage = false;
  /** How often the browser was asked what is in front. */
  #asked = 0;
  /** Whether it has answered once. */
  #frontKnown = false;
  #signingIn: Promise<void> | undefined;
  /** The newest change of the account. Each reads the account before it writes, so the next must wait for it. */
  #changing: Promise<unknown> = Promise.resolve();
  #idle = false;
  #watching = true;
  #unwatch: ReturnType<typeof setTimeout> | undefined;
  #settle: ReturnType<typeof setTimeout> | undefined;
  #resume: ReturnType<typeof setTimeout> | undefined;
  #keeping = false;
  #ready: Promise<void>;

  constructor(
    readonly platform: Platform,
    site: { readonly origin: string; readonly issuer: string; readonly clientId: string },
  ) {
    this.session = new Session(platform.storage, site.issuer, site.clientId, (token) => this.#connection.send({ action: "authenticate", token }));
    this.rest = new Rest(site.origin, () => this.token(), () => this.#renew(), () => this.#signOuts);
    this.#connection = new Connection(`${site.origin.replace(/^http/, "ws")}/ws`, {
      token: () => this.token(),
      renew: () => this.#renew(),
      refusal: () => this.#refusal(),
      open: (url, protocols) => new WebSocket(url, protocols),
      changed: (link) => this.#linkChanged(link),
      opened: () => this.#opened(),
      received: (message) => void this.#received(message),
      beat: () => platform.keepAwake(),
    });
    this.#ready = this.#restore();
  }

  get scene(): Scene {
    return this.#scene;
  }

  /**
   * A view opened. It is told everything, and then what changes. Call the result when it closes. `again`: it was open before, and the
   * worker was started anew beneath it.
   */
  async look(view: View, again = false): Promise<() => void> {
    // A browser that could not read what is kept may be able to now.
    await this.#ready.catch(() => (this.#ready = this.#restore()));
    this.#views.add(view);
    view.tell({ is: "scene", scene: this.#scene });
    clearTimeout(this.#unwatch);
    this.#watch(true);
    // A person who looks does not wait.
    if (!again && this.#scene.link.is === "waiting") this.#connection.tryNow();
    // Perhaps they registered elsewhere.
    if (!again && this.#scene.account === "new") void this.#fetchAll().catch(() => undefined);
    return () => {
      this.#views.delete(view);
      if (this.#views.size > 0) return;
      clearTimeout(this.#unwatch);
      this.#unwatch = setTimeout(() => this.#watch(false), WATCH_ON_MS);
    };
  }

  /** Does what a view asks, and tells it how that went. */
  async ask(view: View, { id, name, args }: Asked): Promise<void> {
    await this.#ready;
    try {
      const result = await this.do(name, args);
      view.tell({ is: "done", id, result });
    } catch (error) {
      view.tell({ is: "failed", id, failure: failureOf(error) });
    }
  }

  async do<Name extends ActionName>(name: Name, args: Args<Name>): Promise<Result<Name>> {
    return ACTIONS[name](this, args);
  }

  /** The worker was woken: by its alarm, the browser's start, the network, or the end of sleep. */
  async wake(): Promise<void> {
    await this.#ready;
    this.#endPause();
    if (!this.#mayConnect()) return;
    // Replaced in time, so that the open socket is not closed for it.
    await this.token().catch(() => undefined);
    // Meanwhile the person may have signed out.
    if (!this.#mayConnect()) return;
    this.#connection.start();
    // With the core away, it was in vain before.
    if (this.#connection.link.is === "open") await this.#catchUp().catch(() => undefined);
  }

  /** Somebody without an account has no live channel. */
  #mayConnect(): boolean {
    return this.#scene.signIn.is === "in" && this.#scene.account !== "new";
  }

  /** The network is back, or the machine. */
  async online(): Promise<void> {
    await this.wake();
    if (this.#mayConnect() && this.#scene.link.is !== "stopped") this.#connection.tryNow();
  }

  connectNow(): void {
    this.#connection.tryNow();
  }

  /** The browser may show another page now. */
  async frontChanged(): Promise<void> {
    await this.#ready;
    if (!shares(this.#scene.sharing, Date.now())) return;
    this.#asked += 1;
    const turn = this.#asked;
    // A browser that does not say shows nothing.
    const tab = await this.platform.front().catch(() => null);
    // Answers may overtake each other: only that of the last question counts.
    if (turn !== this.#asked || !shares(this.#scene.sharing, Date.now())) return;
    this.#frontKnown = true;
    this.#await(this.#settling.see(tab, Date.now()));
    this.#pageMayDiffer();
  }

  /** Whether somebody is at this device. */
  async idleChanged(idle: boolean): Promise<void> {
    await this.#ready;
    this.#idle = idle;
    this.#connection.send({ action: "set-idle", idle });
  }

  /** A permission was given or taken. */
  async permissionsChanged(): Promise<void> {
    await this.#ready;
    const [permitted, mayNotify] = await Promise.all([this.platform.permitted(), this.platform.mayNotify()]);
    this.#show({ mayNotify, sharing: { ...this.#scene.sharing, permitted } });
    await this.sharingChanged();
  }

  /** Whatever decides what is shared has changed. */
  async sharingChanged(): Promise<void> {
    this.#endPause();
    if (shares(this.#scene.sharing, Date.now())) {
      await this.frontChanged();
    } else {
      this.#settling.see(null, Date.now());
      this.#pageMayDiffer();
    }
  }

  /** Pauses until the person resumes, or resumes. */
  async togglePause(): Promise<void> {
    await this.#ready;
    await this.do("pause", { until: isPaused(this.#scene.sharing.pause, Date.now()) ? null : "resumed" });
  }

  setInvisible(invisible: boolean): void {
    if (!this.#connection.send({ action: "set-visibility", invisible })) throw new FailureError({ why: "offline" });
  }

  /** Changes what views see. */
  change(changes: Partial<Scene>): void {
    this.#show(changes);
  }

  /** The server's answer to a change of the account. */
  accountChanged(account: UserPrivate): void {
    this.#rulesKnown = true;
    this.#show({ account });
    this.#claimConsent(account.user_id);
    this.#pageMayDiffer();
  }

  /** Changes the account, when those changes are done that were asked for before. */
  changeAccount(change: (now: UserPrivate) => Promise<UserPrivate>): Promise<void> {
    const changed = this.#changing.catch(() => undefined).then(async () => {
      this.accountChanged(await change(await this.rest.call(ACCOUNT, "GET /users/me")));
    });
    this.#changing = changed;
    return changed;
  }

  /** What was agreed to in this browser was agreed to by one person. Another one who signs in here is asked. */
  #claimConsent(person: UserId): void {
    const { sharing } = this.#scene;
    if (sharing.consent === null || sharing.consent.by === person) return;
    const consent = sharing.consent.by === undefined ? { ...sharing.consent, by: person } : null;
    this.#show({ sharing: { ...sharing, consent } });
    if (consent) void this.platform.storage.set("consent", consent);
    else void this.platform.storage.remove("consent");
  }

  /** Somebody signed in, or registered: everything is fetched, and the live channel opens. */
  async signedIn(): Promise<void> {
    this.#show({ signIn: { is: "in" } });
    this.platform.keepWaking(true);
    await this.#fetchAll();
  }

  async #fetchAll(): Promise<void> {
    await this.#fetchAccount();
    if (this.#mayConnect()) this.#connection.tryNow();
  }

  /** Signs in by a window of the browser's, which the person may close. While one is open, it is the one that is meant. */
  signInByWindow(): Promise<void> {
    this.#signingIn ??= this.#signIn().finally(() => {
      this.#signingIn = undefined;
    });
    return this.#signingIn;
  }

  async #signIn(): Promise<void> {
    const address = await this.session.begin(this.platform.redirect);
    this.#show({ signIn: { is: "busy" } });
    try {
      await this.session.finish(await this.platform.authorize(address));
    } catch (error) {
      this.#show({ signIn: { is: "out" } });
      throw error;
    }
    await this.signedIn();
  }

  /** Signs out everywhere that this client can reach. Where the web page must go for that; null where there is no such place. */
  async signOut(): Promise<string | null> {
    // First friends see the person go; then the provider may take its time.
    await this.signedOut();
    const address = await this.session.end(this.platform.redirect);
    if (address === null) return null;
    return this.platform.endSession(address);
  }

  /** Nobody is signed in any more. What was known of the person goes. */
  async signedOut(why?: "ended"): Promise<void> {
    this.#signOuts += 1;
    this.#connection.stop({ goodbye: why === undefined });
    this.#live = NOTHING_LIVE;
    this.#fetchedVersion = -1;
    this.#rulesKnown = false;
    this.#told = null;
    const { sharing, preferences, mayNotify } = this.#scene;
    this.#show({ ...EMPTY_SCENE, signIn: why ? { is: "out", why } : { is: "out" }, sharing, preferences, mayNotify });
    await this.platform.storage.remove("scene", "backOff");
    this.platform.keepWaking(false);
  }

  /** Fetches the requests again: their changes are only told to the other side. */
  async fetchRequests(): Promise<void> {
    const [requests, sentRequests] = await this.#unchanged(() => Promise.all([
      this.rest.call(REQUESTS, "GET /friendship/requests", { query: { limit: 100 } }),
      this.rest.call(REQUESTS, "GET /friendship/sent-requests", { query: { limit: 100 } }),
    ]));
    this.#show({ requests, sentRequests });
  }

  async fetchReceived(): Promise<void> {
    const received = await this.#unchanged(() => this.rest.call(SHARES, "GET /notifications/share", { query: { limit: RECEIVED_MAX } }));
    this.#show({ received });
  }

  /** Fetches lists, and again if the live channel changed one meanwhile: the answer may be older than that change. */
  async #unchanged<T>(fetch: () => Promise<T>): Promise<T> {
    for (let fetches = 1; ; fetches += 1) {
      const before = this.#listChanges;
      const lists = await fetch();
      if (before === this.#listChanges || fetches === FETCHES_MAX) return lists;
    }
  }

  async token(): Promise<string> {
    try {
      return await this.session.token();
    } catch (error) {
      if (error instanceof SessionError && error.why === "ended") await this.#sessionEnded();
      throw error;
    }
  }

  rules(): Rules | undefined {
    const { account } = this.#scene;
    if (account === null || account === "new") return undefined;
    return { mode: account.share_mode, allow: account.domain_allow_array, deny: account.domain_deny_array };
  }

  async #restore(): Promise<void> {
    const { storage } = this.platform;
    const [scene, consent, pause, kept, backOff, permitted, mayNotify, idle, open] = await Promise.all([
      storage.get("scene"),
      storage.get("consent"),
      storage.get("pause"),
      storage.get("preferences"),
      storage.get("backOff"),
      this.platform.permitted(),
      this.platform.mayNotify(),
      this.platform.idle(),
      this.session.isOpen(),
    ]);
    const sharing = { consent: consent ?? null, permitted, pause: pause ?? null, front: null };
    const painted = open && scene ? scene : EMPTY_SCENE;
    const preferences = { ...EMPTY_SCENE.preferences, ...kept };
    this.#scene = { ...painted, signIn: { is: open ? "in" : "out" }, link: { is: "off" }, mayNotify, sharing, preferences };
    this.#idle = idle;
    // However old the agreement is.
    this.#leftPage = sharing.consent?.choice === "share";
    this.#endPause();
    this.#badge();
    if (open) {
      if (this.#mayConnect()) this.#connection.resume(backOff);
      this.platform.keepWaking(true);
    }
    // Not waited for: it waits for this.
    queueMicrotask(() => void this.frontChanged());
  }

  /** Views are told that the channel is open when its snapshot has come: before that, what they draw is old. */
  #linkChanged(link: Link): void {
    this.#show({ link: link.is === "open" ? { is: "connecting" } : link });
    const { storage } = this.platform;
    const backOff = this.#connection.backOff;
    if (backOff) void storage.set("backOff", backOff);
    else if (link.is === "open") void storage.remove("backOff");
  }

  #opened(): void {
    this.#told = null;
    this.#rulesKnown = false;
    this.#listsKnown = false;
    // The server takes every new socket for one that watches.
    this.#watching = true;
    if (this.#views.size === 0 && this.#unwatch === undefined) this.#watch(false);
    if (this.#idle) this.#connection.send({ action: "set-idle", idle: true });
  }

  async #received(message: ServerMessage): Promise<void> {
    const now = Date.now();
    const live = reduce(this.#live, message);
    const lists = reduceLists(this.#scene, message, new Date(now).toISOString());
    if (Object.keys(lists).length > 0) this.#listChanges += 1;
    const link: Partial<Scene> = message.type === "presence-snapshot" ? { link: { is: "open" } } : {};
    if (live !== this.#live) {
      this.#live = live;
      this.#show({ ...draw(live, this.#scene, now), ...lists, ...link });
    } else if (Object.keys(lists).length > 0) {
      this.#show(lists);
    }
    this.#announce(message);
    await this.#follow(message).catch(() => undefined);
  }

  /** What must be fetched or sent because of a message. */
  async #follow(message: ServerMessage): Promise<void> {
    switch (message.type) {
      case "presence-snapshot":
        return this.#catchUp();
      case "settings-updated": {
        const { account } = this.#scene;
        if (account === null || account === "new") return;
        const { shareMode, domainAllowArray, domainDenyArray } = message;
        this.accountChanged({ ...account, share_mode: shareMode, domain_allow_array: domainAllowArray, domain_deny_array: domainDenyArray });
        return;
      }
      case "friend-updated":
        if (message.user.user_id === this.#live.me) await this.#fetchAccount();
        return;
      case "friend-removed":
        // If they were blocked, or blocked the person, their shares went with them.
        return this.fetchReceived();
      default:
    }
  }

  /** Fetches what the live channel does not tell, as far as it is older than the channel's snapshot. */
  async #catchUp(): Promise<void> {
    const { version } = this.#live;
    if (version < 0) return;
    if (version > this.#fetchedVersion) {
      await this.#fetchAccount();
      this.#fetchedVersion = version;
    }
    // What was fetched at this version still holds.
    this.#rulesKnown = this.rules() !== undefined;
    await this.frontChanged();
    this.#pageMayDiffer();
    if (this.#listsKnown) return;
    await Promise.all([this.fetchRequests(), this.fetchReceived()]);
    this.#listsKnown = true;
  }

  /** Announces what is new. Only what the live channel brings is: lists that are fetched hold old things too. */
  #announce(message: ServerMessage): void {
    const { preferences } = this.#scene;
    if (!preferences.notifications) return;
    if (message.type === "share-notification") {
      const { event_id, first_name, last_name, title, url } = message.notification;
      const text = clean(title) || (readPage(url, "")?.domain ?? "");
      this.platform.notify({ id: event_id, kind: "share", firstName: first_name, lastName: last_name, text }, preferences.language);
    }
    if (message.type === "friend-request") {
      const { user_id, first_name, last_name } = message.user;
      const notice = { id: `request-${user_id}`, kind: "request", firstName: first_name, lastName: last_name, text: "" } as const;
      this.platform.notify(notice, preferences.language);
    }
  }

  async #fetchAccount(): Promise<void> {
    try {
      this.accountChanged(await this.rest.call(ACCOUNT, "GET /users/me"));
    } catch (error) {
      if (!(error instanceof FailureError && error.failure.status === 404)) throw error;
      this.#show({ account: "new" });
    }
  }

  async #renew(): Promise<void> {
    try {
      await this.session.renew();
    } catch (error) {
      if (error instanceof SessionError && error.why === "ended") await this.#sessionEnded();
      throw error;
    }
  }

  async #sessionEnded(): Promise<void> {
    if (this.#scene.signIn.is === "in") await this.signedOut("ended");
  }

  async #refusal(): Promise<Refusal> {
    try {
      await this.#fetchAccount();
    } catch (error) {
      const status = error instanceof FailureError ? error.failure.status : undefined;
      return status === 401 ? "token" : status === 403 ? "gone" : "away";
    }
    // Somebody without an account has no live channel.
    return this.#scene.account === "new" ? "stop" : "away";
  }

  #watch(watching: boolean): void {
    this.#unwatch = undefined;
    if (watching === this.#watching) return;
    if (this.#connection.send({ action: "watch", watching })) this.#watching = watching;
  }

  #await(due: Moment | undefined): void {
    clearTimeout(this.#settle);
    if (due === undefined) return;
    this.#settle = setTimeout(() => {
      this.#await(this.#settling.settle(Date.now()));
      this.#pageMayDiffer();
    }, due - Date.now());
  }

  /** Tells the server of the page in front, if it is another one than it was told, and views too. */
  #pageMayDiffer(): void {
    const rules = this.#rulesKnown ? this.rules() : undefined;
    this.#showFront(rules);
    if (!this.platform.sharesPages) return;
    const { front, settled } = this.#settling;
    const sharing = shares(this.#scene.sharing, Date.now());
    // Without the rules nobody knows whether the page may be shown. That nothing is to be shown needs no rules.
    if (sharing && (!this.#frontKnown || (rules === undefined && settled !== null))) return;
    const mayShow = (tab: Tab | null) => (tab && rules ? shownPage(rules, tab.url, tab.title) : undefined);
    // Away from what is shown to what is not, nobody waits for the new page to settle.
    const leaves = front?.url !== settled?.url && mayShow(front) === undefined;
    const page = sharing && !leaves ? mayShow(settled) : undefined;
    const text = page ? JSON.stringify([page.url, page.title]) : "";
    // A browser that shows nothing must not hide what another browser of the same person shows.
    if (text === this.#told || (text === "" && this.#told === null && !this.#leftPage)) return;
    if (!this.#connection.send({ action: "update-presence", url: page?.url ?? "", title: page?.title ?? "" })) return;
    this.#told = text;
    this.#leftPage = page !== undefined;
  }

  #showFront(rules: Rules | undefined): void {
    const { sharing } = this.#scene;
    const tab = this.#settling.front;
    const page = tab && rules ? readPage(tab.url, tab.title) : undefined;
    const front = page && rules ? { ...page, site: page.domain, shown: shownPage(rules, page.url, page.title) !== undefined } : null;
    const same = front?.url === sharing.front?.url && front?.title === sharing.front?.title && front?.shown === sharing.front?.shown;
    if (!same) this.#show({ sharing: { ...sharing, front: front && { url: front.url, title: front.title, site: front.site, shown: front.shown } } });
  }

  /** Ends a pause whose time is over, and sees to the end of one whose time is not. */
  #endPause(): void {
    clearTimeout(this.#resume);
    const { sharing } = this.#scene;
    const { pause } = sharing;
    if (typeof pause !== "number") return;
    if (isPaused(pause, Date.now())) {
      // Browsers end timers with the worker; the alarm that wakes it comes here too.
      this.#resume = setTimeout(() => void this.sharingChanged(), Math.min(pause - Date.now(), 2 ** 31 - 1));
      return;
    }
    this.#show({ sharing: { ...sharing, pause: null } });
    void this.platform.storage.remove("pause");
    void this.frontChanged();
  }

  #show(changes: Partial<Scene>): void {
    const before = this.#scene;
    this.#scene = { ...before, ...changes };
    const patch = difference(before, this.#scene);
    if (patch === undefined) return;
    for (const view of this.#views) view.tell(patch);
    this.#badge();
    this.#keep();
  }

  #badge(): void {
    const { sharing } = this.#scene;
    this.platform.badge(waiting(this.#scene), isPaused(sharing.pause, Date.now()) ? sharing.pause : null);
  }

  /** Writes down what is drawn, at most once a second, for views to paint before the worker knows better. */
  #keep(): void {
    if (this.#keeping) return;
    this.#keeping = true;
    setTimeout(() => {
      this.#keeping = false;
      // The page in front stays in memory alone.
      const { sharing } = this.#scene;
      if (this.#scene.signIn.is === "in") void this.platform.storage.set("scene", { ...this.#scene, sharing: { ...sharing, front: null } });
    }, 1_000);
  }
}

function failureOf(error: unknown): Failure {
  if (error instanceof FailureError) return error.failure;
  if (error instanceof SessionError) {
    return { why: ({ ended: "signed-out", unreachable: "sign-in-away", refused: "sign-in-closed" } as const)[error.why] };
  }
  return { why: "closed" };
}
