import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { CLOSE_CODES, HEARTBEAT_REQUEST, HEARTBEAT_RESPONSE } from "../src/generated/constants";
import type { ServerMessage } from "../src/generated/types";
import type { Link } from "../src/scene";
import { ANSWER_WITHIN_MS, Connection, HEARTBEAT_EVERY_MS, OPEN_WITHIN_MS, RETRY_MAX_MS, type Refusal } from "../src/worker/connection";

/** A fake socket, whose events the test fires. */
class Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  readonly sent: string[] = [];
  closed = false;
  constructor(readonly token: string | undefined) {}
  send(text: string) {
    this.sent.push(text);
  }
  close() {
    this.closed = true;
  }
}

let sockets: Socket[];
let links: Link[];
let received: ServerMessage[];
let refusal: Refusal;
let renewed: number;
let connection: Connection;
let token: () => Promise<string>;

const last = () => sockets.at(-1) ?? expect.fail("no socket was opened");
const link = () => links.at(-1) ?? { is: "off" };
const hear = (message: object) => last().onmessage?.({ data: JSON.stringify(message) });
const settle = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(1);
  [sockets, links, received, refusal, renewed] = [[], [], [], "away", 0];
  token = () => Promise.resolve(`token ${renewed}`);
  connection = new Connection("wss://edge.example.org/ws", {
    token: () => token(),
    renew: () => {
      renewed += 1;
      return Promise.resolve();
    },
    refusal: () => Promise.resolve(refusal),
    open: (_, [, given]) => {
      sockets.push(new Socket(given));
      return last() as unknown as WebSocket;
    },
    changed: (now) => links.push(now),
    opened: () => undefined,
    received: (message) => received.push(message),
    beat: () => undefined,
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function open(): Promise<Socket> {
  connection.start();
  await settle();
  last().onopen?.();
  return last();
}

test("the token goes as a subprotocol, and messages come through", async () => {
  await open();
  expect(last().token).toBe("token 0");
  hear({ type: "friend-removed", userId: "bob" });
  last().onmessage?.({ data: "no JSON" });
  last().onmessage?.({ data: HEARTBEAT_RESPONSE });
  expect(received).toEqual([{ type: "friend-removed", userId: "bob" }]);
  expect(link().is).toBe("open");
});

test("a heartbeat that is answered keeps the socket, and one that is not ends it", async () => {
  const socket = await open();
  await vi.advanceTimersByTimeAsync(HEARTBEAT_EVERY_MS);
  expect(socket.sent).toEqual([HEARTBEAT_REQUEST]);
  last().onmessage?.({ data: HEARTBEAT_RESPONSE });
  await vi.advanceTimersByTimeAsync(HEARTBEAT_EVERY_MS + ANSWER_WITHIN_MS - 1);
  expect(link().is).toBe("open");
  await vi.advanceTimersByTimeAsync(1);
  // No close event of the browser was needed.
  expect(socket.closed).toBe(true);
  expect(link().is).toBe("waiting");
});

test("each failure doubles the longest wait up to its limit, and a message resets it", async () => {
  connection.start();
  const waits: number[] = [];
  for (let failure = 0; failure < 12; failure += 1) {
    await settle();
    last().onclose?.({ code: 1006 });
    await settle();
    const now = link();
    if (now.is !== "waiting") expect.fail(now.is);
    waits.push(now.until - Date.now());
    await vi.advanceTimersByTimeAsync(now.until - Date.now());
  }
  expect(waits.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
  expect(Math.max(...waits)).toBe(RETRY_MAX_MS);
  await settle();
  last().onopen?.();
  hear({ type: "friend-removed", userId: "bob" });
  last().onclose?.({ code: 1012 });
  expect(link()).toEqual({ is: "waiting", until: Date.now() + 1_000 });
});

test("the wait is random, so that many clients do not come back at once", async () => {
  vi.mocked(Math.random).mockReturnValue(0.25);
  await open();
  last().onclose?.({ code: 1012 });
  expect(link()).toEqual({ is: "waiting", until: Date.now() + 250 });
});

test("a socket that never opens is given up", async () => {
  connection.start();
  await settle();
  await vi.advanceTimersByTimeAsync(OPEN_WITHIN_MS);
  expect(sockets[0]?.closed).toBe(true);
  expect(link().is).toBe("waiting");
});

test("an expired token is replaced, and the socket is opened at once", async () => {
  await open();
  last().onclose?.({ code: CLOSE_CODES.tokenExpired });
  await settle();
  expect(last().token).toBe("token 1");
});

test("a token that the server refuses before the socket opens is replaced too", async () => {
  refusal = "token";
  connection.start();
  await settle();
  last().onclose?.({ code: 1006 });
  await settle();
  expect(renewed).toBe(1);
});

test.each([
  [CLOSE_CODES.accountGone, "gone"],
  [CLOSE_CODES.tooManySockets, "elsewhere"],
])("after %i it stays closed until the person says so", async (code, why) => {
  await open();
  last().onclose?.({ code });
  await vi.advanceTimersByTimeAsync(2 * RETRY_MAX_MS);
  connection.start();
  expect(link()).toEqual({ is: "stopped", why });
  expect(sockets).toHaveLength(1);
  connection.tryNow();
  await settle();
  expect(sockets).toHaveLength(2);
});

test("a client that was too fast waits a minute at least", async () => {
  vi.mocked(Math.random).mockReturnValue(0);
  await open();
  last().onclose?.({ code: CLOSE_CODES.tooFast });
  expect(link()).toEqual({ is: "waiting", until: Date.now() + 60_000 });
});

test("Try now connects without a wait, and the end of an old attempt changes nothing", async () => {
  await open();
  const first = last();
  const closed = first.onclose;
  first.onclose?.({ code: 1006 });
  connection.tryNow();
  await settle();
  last().onopen?.();
  closed?.({ code: 1006 });
  expect(link().is).toBe("open");
});

test("stopping says goodbye, and no attempt follows", async () => {
  const socket = await open();
  connection.stop({ goodbye: true });
  expect(socket.sent.map((text) => JSON.parse(text))).toEqual([{ action: "goodbye" }]);
  await vi.advanceTimersByTimeAsync(2 * RETRY_MAX_MS);
  expect(link().is).toBe("off");
  expect(sockets).toHaveLength(1);
});

test("without a token it waits, and asks for one again", async () => {
  token = () => Promise.reject(new Error("the provider is away"));
  connection.start();
  await settle();
  expect(link().is).toBe("waiting");
  token = () => Promise.resolve("good");
  await vi.advanceTimersByTimeAsync(1_000);
  expect(last().token).toBe("good");
});
