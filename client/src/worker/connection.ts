/** The WebSocket of the live channel: opens it, notices when it is dead, and opens it again. */

import { CLOSE_CODES, HEARTBEAT_REQUEST, SUBPROTOCOL } from "../generated/constants";
import type { ClientMessage, ServerMessage } from "../generated/types";
import type { Link, Moment } from "../scene";
import { readMessage } from "./wire";

/** Time between heartbeats. It is less than 30 s, because a browser ends an extension's worker that does nothing for 30 s. */
export const HEARTBEAT_EVERY_MS = 20_000;
/** How long the server may take to answer a heartbeat. Then the connection counts as dead. */
export const ANSWER_WITHIN_MS = 10_000;
/** How long a socket may take to open. Then it is given up. */
export const OPEN_WITHIN_MS = 15_000;
const RETRY_BASE_MS = 1_000;
export const RETRY_MAX_MS = 300_000;
/** The least wait after the server closed the socket because this client was too fast. */
const TOO_FAST_MS = 60_000;

/** The state of a failed connection. A worker that is started again continues with it. */
export interface BackOff {
  /** Number of attempts that failed in a row. */
  readonly failures: number;
  readonly link: Link & { readonly is: "waiting" | "stopped" };
}

/** Why the server refused a socket. The WebSocket API does not tell this. */
export type Refusal = "away" | "token" | "gone" | "stop";

export interface Hooks {
  /** A valid token. Rejects if there is none. */
  token(): Promise<string>;
  /** Replaces the token before the next attempt. */
  renew(): Promise<unknown>;
  /** Finds out why an attempt ended before the socket was open. */
  refusal(): Promise<Refusal>;
  open(url: string, protocols: string[]): WebSocket;
  changed(link: Link): void;
  opened(): void;
  received(message: ServerMessage): void;
  /** Called before each heartbeat. If a socket alone does not keep the worker alive, this must. */
  beat(): void;
}

export class Connection {
  #link: Link = { is: "off" };
  #socket: WebSocket | null = null;
  #failures = 0;
  /** The number of the attempt, so that events of older attempts are ignored. */
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

  /** The state to {@link resume} with after the worker has ended. Undefined if the next worker should simply connect. */
  get backOff(): BackOff | undefined {
    const [link, failures] = [this.#link, this.#failures];
    return link.is === "waiting" || link.is === "stopped" ? { link, failures } : undefined;
  }

  /** Connects, or continues where an earlier worker ended. */
  resume(backOff: BackOff | undefined, now: Moment = Date.now()): void {
    if (backOff === undefined) return this.start();
    this.#failures = backOff.failures;
    this.#become(backOff.link);
    if (backOff.link.is === "waiting") this.#later(Math.max(0, backOff.link.until - now), () => void this.#connect());
  }

  /** Connects, unless it is connected, connecting, stopped, or waiting for a later moment. */
  start(now: Moment = Date.now()): void {
    if (this.#link.is === "off" || (this.#link.is === "waiting" && this.#link.until <= now)) void this.#connect();
  }

  /** Connects now, even if it waits or was stopped. If it is connected, a heartbeat checks the connection. */
  tryNow(): void {
    if (this.#link.is === "open" || this.#link.is === "connecting") {
      // The machine may have slept. The heartbeat finds out at once whether the connection is dead.
      this.#beat();
      return;
    }
    void this.#connect();
  }

  /** Closes the connection. With `goodbye`, friends see at once that the person left. */
  stop({ goodbye }: { goodbye: boolean }): void {
    if (goodbye) this.send({ action: "goodbye" });
    this.#drop(CLOSE_CODES.done);
    this.#failures = 0;
    this.#become({ is: "off" });
  }

  /** Sends a message. The result says whether the channel is open. */
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
      // If the person is signed out, `stop` was called, and this attempt is not current any more.
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
    // The browser may take minutes to notice a dead connection, so this does not wait for its close event.
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
    this.#wait();
    await this.#connectRenewed();
  }

  /** Has the token replaced, and then connects before the wait is over. It does so once, in case the new token is refused too. */
  async #connectRenewed(): Promise<void> {
    const attempt = this.#attempt;
    await this.hooks.renew().catch(() => undefined);
    if (attempt === this.#attempt && this.#failures <= 1) void this.#connect();
  }

  async #explain(): Promise<void> {
    const attempt = this.#attempt;
    this.#wait();
    const refusal = await this.hooks.refusal();
    if (attempt !== this.#attempt) return;
    if (refusal === "token") void this.#connectRenewed();
    if (refusal === "gone") this.#end({ is: "stopped", why: "gone" });
    if (refusal === "stop") this.#end({ is: "off" });
  }

  #end(link: Link): void {
    this.#drop();
    this.#become(link);
  }

  /**
   * Waits for a random time, whose maximum doubles with each failure. It is random so that many clients that lost the server do
   * not come back at once.
   */
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
