/** The worker's central state: the scene, the session, the live channel, and the open views. */

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

/** How long this client still watches page changes after its last view closed. */
export const WATCH_ON_MS = 10_000;
/** How often a list is fetched at most, if the live channel changes a list during each fetch. */
const FETCHES_MAX = 3;

/** The worker's side of a view. It is made of a `chrome.runtime` port or a `MessagePort`. */
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
  /** The version of the last snapshot when the account was fetched. -1: not fetched yet. */
  #fetchedVersion = -1;
  /**
   * Whether the rules are up to date. Another device may change them while no socket is open. No page is sent before they are up
   * to date.
   */
  #rulesKnown = false;
  /** Whether requests and shares were fetched since the channel opened. The snapshot's version does not cover them. */
  #listsKnown = false;
  /** Number of messages of the live channel that changed a list. */
  #listChanges = 0;
  /** Number of sign-outs. An answer to a call that was made before a sign-out must not reach the next person. */
  #signOuts = 0;
  /** The page that was sent last on the open socket, so that it is not sent twice. Null: none yet. Empty: the page is hidden. */
  #told: string | null = null;
  /** Whether an earlier socket may have left a page with the server, which shows it during a reconnect. */
  #leftPage = false;
  /** Number of times that the browser was asked for the page in front. */
  #asked = 0;
  /** Whether the browser has answered that once. */
  #frontKnown = false;
  #signingIn: Promise<void> | undefined;
  /** The newest change of the account. A change reads the account before it writes it, so the next change must wait for it. */
  #changing: Promise<unknown> = Promise.resolve();
  #idle = false;
  #watching = true;
  #unwatch: ReturnType<typeof setTimeout> | undefined;
  #settle: ReturnType<typeof setTimeout> | undefined;
  #resume: ReturnType<typeof setTimeout> | undefined;
  #keeping = false;
  /** The storage is read, or is being read. */
  #ready: Promise<void> | undefined;

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
    this.#begin().catch(() => undefined);
  }

  get scene(): Scene {
    return this.#scene;
  }

  /**
   * Adds a view that opened. It gets the scene, and then every change. The caller calls the result when the view closes. `again`:
   * the view was open before, and connects again because the worker had ended.
   */
  async look(view: View, again = false): Promise<() => void> {
    await this.#begin();
    this.#views.add(view);
    view.tell({ is: "scene", scene: this.#scene });
    clearTimeout(this.#unwatch);
    this.#watch(true);
    // A person who opens a view should not wait for the next attempt.
    if (!again && this.#scene.link.is === "waiting") this.#connection.tryNow();
    // The person may have registered on another device.
    if (!again && this.#scene.account === "new") void this.#fetchAll().catch(() => undefined);
    return () => {
      this.#views.delete(view);
      if (this.#views.size > 0) return;
      clearTimeout(this.#unwatch);
      this.#unwatch = setTimeout(() => this.#watch(false), WATCH_ON_MS);
    };
  }

  /** Carries out a view's action, and tells the view the outcome. */
  async ask(view: View, { id, name, args }: Asked): Promise<void> {
    try {
      await this.#begin();
      const result = await this.do(name, args);
      view.tell({ is: "done", id, result });
    } catch (error) {
      view.tell({ is: "failed", id, failure: failureOf(error) });
    }
  }

  async do<Name extends ActionName>(name: Name, args: Args<Name>): Promise<Result<Name>> {
    return ACTIONS[name](this, args);
  }

  /** Called when the worker was woken: by its alarm, the browser's start, the network, or the end of the machine's sleep. */
  async wake(): Promise<void> {
    await this.#begin();
    this.#endPause();
    if (!this.#mayConnect()) return;
    // This replaces the token before it expires, so that the server does not close the open socket.
    await this.token().catch(() => undefined);
    // The person may have signed out in the meantime.
    if (!this.#mayConnect()) return;
    this.#connection.start();
    // This may have failed before, because the core was away.
    if (this.#connection.link.is === "open") await this.#catchUp().catch(() => undefined);
  }

  /** The live channel needs a person who is signed in and, as far as is known, registered. */
  #mayConnect(): boolean {
    return this.#scene.signIn.is === "in" && this.#scene.account !== "new";
  }

  /** Called when the network is back, or the machine has woken up. */
  async online(): Promise<void> {
    await this.wake();
    if (this.#mayConnect() && this.#scene.link.is !== "stopped") this.#connection.tryNow();
  }

  connectNow(): void {
    this.#connection.tryNow();
  }

  /** Called when the browser may show another page. */
  async frontChanged(): Promise<void> {
    await this.#begin();
    if (!shares(this.#scene.sharing, Date.now())) return;
    this.#asked += 1;
    const turn = this.#asked;
    // If the browser cannot say which page is in front, there is none.
    const tab = await this.platform.front().catch(() => null);
    // Answers may arrive in another order. Only the answer to the last question counts.
    if (turn !== this.#asked || !shares(this.#scene.sharing, Date.now())) return;
    this.#frontKnown = true;
    this.#await(this.#settling.see(tab, Date.now()));
    this.#pageMayDiffer();
  }

  /** Called when the person leaves the device (`idle`), or is back. */
  async idleChanged(idle: boolean): Promise<void> {
    await this.#begin();
    this.#idle = idle;
    this.#connection.send({ action: "set-idle", idle });
  }

  /** Called when a permission was given or taken away. */
  async permissionsChanged(): Promise<void> {
    await this.#begin();
    const [permitted, mayNotify] = await Promise.all([this.platform.permitted(), this.platform.mayNotify()]);
    this.#show({ mayNotify, sharing: { ...this.#scene.sharing, permitted } });
    await this.sharingChanged();
  }

  /** Called when the consent, the permission or the pause has changed. */
  async sharingChanged(): Promise<void> {
    this.#endPause();
    if (shares(this.#scene.sharing, Date.now())) {
      await this.frontChanged();
    } else {
      this.#settling.see(null, Date.now());
      this.#pageMayDiffer();
    }
  }

  /** Ends a pause, or begins one that lasts until the person resumes. */
  async togglePause(): Promise<void> {
    await this.#begin();
    await this.do("pause", { until: isPaused(this.#scene.sharing.pause, Date.now()) ? null : "resumed" });
  }

  setInvisible(invisible: boolean): void {
    if (!this.#connection.send({ action: "set-visibility", invisible })) throw new FailureError({ why: "offline" });
  }

  /** Changes fields of the scene. */
  change(changes: Partial<Scene>): void {
    this.#show(changes);
  }

  /** Takes over the account as the server has just told it. */
  accountChanged(account: UserPrivate): void {
    this.#rulesKnown = true;
    this.#show({ account });
    this.#claimConsent(account.user_id);
    this.#pageMayDiffer();
  }

  /** Changes the account after all changes that were asked for before. `change` gets the account as the server has it then. */
  changeAccount(change: (now: UserPrivate) => Promise<UserPrivate>): Promise<void> {
    const changed = this.#changing.catch(() => undefined).then(async () => {
      this.accountChanged(await change(await this.rest.call(ACCOUNT, "GET /users/me")));
    });
    this.#changing = changed;
    return changed;
  }

  /**
   * The consent belongs to one person. The first person who signs in after it gets it; if another one signs in, it is removed.
   */
  #claimConsent(person: UserId): void {
    const { sharing } = this.#scene;
    if (sharing.consent === null || sharing.consent.by === person) return;
    const consent = sharing.consent.by === undefined ? { ...sharing.consent, by: person } : null;
    this.#show({ sharing: { ...sharing, consent } });
    if (consent) {
      void this.platform.storage.set("consent", consent);
      return;
    }
    // This person left no page here. An empty one would hide what another browser of theirs shows.
    this.#leftPage = false;
    void this.platform.storage.remove("consent");
  }

  /** Called when a person has signed in, or registered: fetches the account, and opens the live channel. */
  async signedIn(): Promise<void> {
    this.#show({ signIn: { is: "in" } });
    this.platform.keepWaking(true);
    await this.#fetchAll();
  }

  async #fetchAll(): Promise<void> {
    await this.#fetchAccount();
    if (this.#mayConnect()) this.#connection.tryNow();
  }

  /** Signs in by a window, which the person may close. While such a window is open, no second one is opened. */
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

  /** Signs out here and at the provider. The result is the address that the web page must visit for that, or null. */
  async signOut(): Promise<string | null> {
    // The channel is closed first, because the provider may answer slowly and friends should see the person leave at once.
    await this.signedOut();
    const address = await this.session.end(this.platform.redirect);
    if (address === null) return null;
    return this.platform.endSession(address);
  }

  /** Forgets everything about the person who was signed in, and closes the live channel. */
  async signedOut(why?: "ended"): Promise<void> {
    this.#signOuts += 1;
    this.#connection.stop({ goodbye: why === undefined });
    this.#live = NOTHING_LIVE;
    this.#fetchedVersion = -1;
    this.#rulesKnown = false;
    this.#told = null;
    this.#leftPage = false;
    const { sharing, preferences, mayNotify } = this.#scene;
    this.#show({ ...EMPTY_SCENE, signIn: why ? { is: "out", why } : { is: "out" }, sharing, preferences, mayNotify });
    await this.platform.storage.remove("scene", "backOff");
    this.platform.keepWaking(false);
  }

  /** Fetches the friend requests again. The live channel tells a change of a request only to the other person. */
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

  /** Fetches lists. If the live channel changed a list during the fetch, they are fetched again: the answer may be older. */
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

  /** Waits until the storage is read. If that fails, the next call tries again. */
  #begin(): Promise<void> {
    this.#ready ??= this.#restore().catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
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
    // The version of the consent does not matter: an earlier worker may have shared a page under an older one.
    this.#leftPage = sharing.consent?.choice === "share";
    this.#endPause();
    this.#badge();
    if (open) {
      if (this.#mayConnect()) this.#connection.resume(backOff);
      this.platform.keepWaking(true);
    }
    // Not awaited, because `frontChanged` awaits this restore.
    queueMicrotask(() => void this.frontChanged());
  }

  /** Views see the channel as open only after its snapshot has come, because before that they draw old data. */
  #linkChanged(link: Link): void {
    const shown: Link = link.is === "open" ? { is: "connecting" } : link;
    const lost = this.#scene.link.is === "open";
    this.#show(lost ? { link: shown, asOf: Date.now() } : { link: shown });
    const { storage } = this.platform;
    const backOff = this.#connection.backOff;
    if (backOff) void storage.set("backOff", backOff);
    else if (link.is === "open") void storage.remove("backOff");
  }

  #opened(): void {
    this.#told = null;
    this.#rulesKnown = false;
    this.#listsKnown = false;
    // On the server, every new socket watches.
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

  /** Fetches or sends what a message makes necessary. */
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
        // If one has blocked the other, the former friend's shares are gone too.
        return this.fetchReceived();
      default:
    }
  }

  /** Fetches what the snapshot does not hold: the account, if the snapshot's version is newer, and the lists, once per socket. */
  async #catchUp(): Promise<void> {
    const { version } = this.#live;
    if (version < 0) return;
    if (version > this.#fetchedVersion) {
      await this.#fetchAccount();
      this.#fetchedVersion = version;
    }
    // The account that was fetched at this version is up to date.
    this.#rulesKnown = this.rules() !== undefined;
    await this.frontChanged();
    this.#pageMayDiffer();
    if (this.#listsKnown) return;
    await Promise.all([this.fetchRequests(), this.fetchReceived()]);
    this.#listsKnown = true;
  }

  /**
   * Shows a notification for a new share or request. Only messages of the live channel are new: fetched lists hold old items too.
   */
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
    // A person without an account has no live channel.
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

  /** Tells views the page in front, and the server too if it differs from the page that was sent last. */
  #pageMayDiffer(): void {
    const rules = this.#rulesKnown ? this.rules() : undefined;
    this.#showFront(rules);
    if (!this.platform.sharesPages) return;
    const { front, settled } = this.#settling;
    const sharing = shares(this.#scene.sharing, Date.now());
    // Without the rules, it is not known whether the page may be shown. Hiding needs no rules.
    if (sharing && (!this.#frontKnown || (rules === undefined && settled !== null))) return;
    const mayShow = (tab: Tab | null) => (tab && rules ? shownPage(rules, tab.url, tab.title) : undefined);
    // If the new page may not be shown, the old one is hidden at once, before the new page has settled.
    const leaves = front?.url !== settled?.url && mayShow(front) === undefined;
    const page = sharing && !leaves ? mayShow(settled) : undefined;
    const text = page ? JSON.stringify([page.url, page.title]) : "";
    // A browser that has shown no page must not hide the page that another browser of the same person shows.
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

  /** Ends a pause whose time is over. If it is not over, a timer ends it. */
  #endPause(): void {
    clearTimeout(this.#resume);
    const { sharing } = this.#scene;
    const { pause } = sharing;
    if (typeof pause !== "number") return;
    if (isPaused(pause, Date.now())) {
      // This timer is lost if the browser ends the worker. Then the alarm wakes the worker, and `wake` calls this again.
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

  /** Stores the scene, at most once a second. Views paint it before the worker has newer data. */
  #keep(): void {
    if (this.#keeping) return;
    this.#keeping = true;
    setTimeout(() => {
      this.#keeping = false;
      // The page in front is never stored.
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
