/** The WebSocket of the live channel: opens it, notices when it is dead, and opens it again. */

import { CLOSE_CODES, HEARTBEAT_REQUEST, SUBPROTOCOL } from "../generated/constants";
import type { ClientMessage, ServerMessage } from "../generated/types";
import type { Link, Moment } from "../scene";
import { readMessage } from "./wire";

/** A browser ends an extension's worker after 30 s in which it does nothing. */
export const HEARTBEAT_EVERY_MS = 20_000;
/** A server that has not answered a heartbeat by then is away. */
export const ANSWER_WITHIN_MS = 10_000;
/** A socket that has not opened by then never will. */
export const OPEN_WITHIN_MS = 15_000;
const RETRY_BASE_MS = 1_000;
export const RETRY_MAX_MS = 300_000;
/** The least wait after the server said that this client is too fast. */
const TOO_FAST_MS = 60_000;

/** How a worker that is started again goes on connecting: as the one before would have. */
export interface BackOff {
  /** Attempts that failed, one after the other. */
  readonly failures: number;
  readonly link: Link & { readonly is: "waiting" | "stopped" };
}

/** Why a socket was not let in, which the WebSocket API does not say. */
export type Refusal = "away" | "token" | "gone" | "stop";

export interface Hooks {
  /** A token that is good, or a rejection. */
  token(): Promise<string>;
  /** Has the token replaced before the next attempt. */
  renew(): Promise<unknown>;
  /** Finds out why an attempt did not get as far as an open socket. */
  refusal(): Promise<Refusal>;
  open(url: string, protocols: string[]): WebSocket;
  changed(link: Link): void;
  opened(): void;
  received(message: ServerMessage): void;
  /** Before each heartbeat: where a socket alone does not keep the worker alive, this must. */
  beat(): void;
}

export class Connection {
  #link: Link = { is: "off" };
  #socket: WebSocket | null = null;
  #failures = 0;
  /** Grows with each attempt, so that whatever an older one still does is ignored. */
  #attempt = 0;
  #timers: ReturnType<typeof setTimeout>[] = [];
  #unanswered: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly url: string,
    private readonly hooks: Hooks,
  ) {}

  get link(): Link {
    return this.#link;
  }

  /** What to {@link resume} with after the worker has ended; undefined where that would just connect. */
  get backOff(): BackOff | undefined {
    const [link, failures] = [this.#link, this.#failures];
    return link.is === "waiting" || link.is === "stopped" ? { link, failures } : undefined;
  }

  /** Begins, or goes on where a worker before this one ended. */
  resume(backOff: BackOff | undefined, now: Moment = Date.now()): void {
    if (backOff === undefined) return this.start();
    this.#failures = backOff.failures;
    this.#become(backOff.link);
    if (backOff.link.is === "waiting") this.#later(Math.max(0, backOff.link.until - now), () => void this.#connect());
  }

  /** Connects, unless it is connected, on the way, or waiting for its turn. */
  start(now: Moment = Date.now()): void {
    if (this.#link.is === "off" || (this.#link.is === "waiting" && this.#link.until <= now)) void this.#connect();
  }

  /** Connects now, whatever it waits for. */
  tryNow(): void {
    if (this.#link.is === "open" || this.#link.is === "connecting") {
      // Perhaps the machine slept: what is dead is found out at once.
      this.#beat();
      return;
    }
    void this.#connect();
  }

  /** Ends it. Friends see the person go at once when `goodbye` is said. */
  stop({ goodbye }: { goodbye: boolean }): void {
    if (goodbye) this.send({ action: "goodbye" });
    this.#drop(CLOSE_CODES.done);
    this.#failures = 0;
    this.#become({ is: "off" });
  }

  /** Whether it could be sent. */
  send(message: ClientMessage): boolean {
    if (this.#link.is !== "open" || this.#socket === null) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  async #connect(): Promise<void> {
    this.#drop();
    const attempt = this.#attempt;
    const current = () => attempt === this.#attempt;
    this.#become({ is: "connecting" });
    let token: string;
    try {
      token = await this.hooks.token();
    } catch {
      // Without any token the person is signed out, and signing out has stopped this.
      if (current()) this.#wait();
      return;
    }
    if (!current()) return;
    const socket = this.hooks.open(this.url, [SUBPROTOCOL, token]);
    this.#socket = socket;
    let opened = false;
    this.#later(OPEN_WITHIN_MS, () => opened || this.#closed(0, false));
    socket.onopen = () => {
      if (!current()) return;
      opened = true;
      this.#become({ is: "open" });
      this.#keepAlive();
      this.hooks.opened();
    };
    socket.onmessage = ({ data }) => {
      if (current()) this.#take(data);
    };
    socket.onclose = ({ code }) => {
      if (current()) this.#closed(code, opened);
    };
  }

  #take(data: unknown): void {
    clearTimeout(this.#unanswered);
    this.#unanswered = undefined;
    const message = readMessage(data);
    if (message === undefined || message.type === "heartbeat") return;
    this.#failures = 0;
    this.hooks.received(message);
  }

  #keepAlive(): void {
    this.#later(HEARTBEAT_EVERY_MS, () => {
      this.#beat();
      this.#keepAlive();
    });
  }

  #beat(): void {
    this.hooks.beat();
    if (this.#link.is !== "open" || this.#unanswered !== undefined) return;
    this.#socket?.send(HEARTBEAT_REQUEST);
    // The browser may take minutes to notice a dead connection, so its own word is not waited for.
    this.#unanswered = setTimeout(() => this.#closed(0, true), ANSWER_WITHIN_MS);
  }

  #closed(code: number, opened: boolean): void {
    this.#drop();
    switch (code) {
      case CLOSE_CODES.accountGone:
        return this.#become({ is: "stopped", why: "gone" });
      case CLOSE_CODES.tooManySockets:
        return this.#become({ is: "stopped", why: "elsewhere" });
      case CLOSE_CODES.tooFast:
        return this.#wait(TOO_FAST_MS);
      case CLOSE_CODES.tokenExpired:
        return void this.#renew();
      default:
        return opened ? this.#wait() : void this.#explain();
    }
  }

  async #renew(): Promise<void> {
    const attempt = this.#attempt;
    this.#wait();
    await this.hooks.renew().catch(() => undefined);
    if (attempt === this.#attempt && this.#failures <= 1) void this.#connect();
  }

  async #explain(): Promise<void> {
    const attempt = this.#attempt;
    this.#wait();
    const refusal = await this.hooks.refusal();
    if (attempt !== this.#attempt) return;
    if (refusal === "token") void this.#renew();
    if (refusal === "gone") this.#end({ is: "stopped", why: "gone" });
    if (refusal === "stop") this.#end({ is: "off" });
  }

  #end(link: Link): void {
    this.#drop();
    this.#become(link);
  }

  /** Waits between nothing and twice as long as before, so that many who lost the server do not come back at once. */
  #wait(leastMs = 0): void {
    const spread = Math.min(RETRY_MAX_MS - leastMs, RETRY_BASE_MS * 2 ** this.#failures);
    this.#failures += 1;
    const delay = Math.round(leastMs + Math.random() * spread);
    this.#become({ is: "waiting", until: Date.now() + delay });
    this.#later(delay, () => void this.#connect());
  }

  #drop(code?: number): void {
    this.#attempt += 1;
    this.#timers.forEach(clearTimeout);
    this.#timers = [];
    clearTimeout(this.#unanswered);
    this.#unanswered = undefined;
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code);
  }

  #become(link: Link): void {
    this.#link = link;
    this.hooks.changed(link);
  }

  #later(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers = this.#timers.filter((other) => other !== timer);
      run();
    }, ms);
    this.#timers.push(timer);
  }
}
