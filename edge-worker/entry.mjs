// What the runtime loads. Only a class that extends DurableObject can be called by RPC, and the one that comes out of
// WebAssembly does not: this thin one holds it and hands every call through.
//
// After a panic or a trap nothing in WebAssembly's memory can be relied on. The next call begins anew with an empty one,
// and every object makes its own part of it again from storage, as after it has slept.
import { DurableObject } from "cloudflare:workers";
import { __wbg_reset_state, __worker_init_state, fetch, UserObject as Inner } from "./build/index.js";
import { bytesOf, isRead } from "./src/frames.mjs";

// Shared with the Rust side, which says here that it has panicked, and counts how often it has begun.
const instance = __worker_init_state();

// Whatever leaves a call, or a promise that nobody waits for.
const note = (error) => {
  if (error instanceof WebAssembly.RuntimeError) instance.criticalError = true;
};
addEventListener("error", ({ error }) => note(error));
addEventListener("unhandledrejection", ({ reason }) => note(reason));

/** Begins anew where the last call has left WebAssembly broken. */
const renew = () => {
  if (!instance.criticalError) return;
  console.error(JSON.stringify({ level: "error", error: "the worker begins anew after a panic" }));
  __wbg_reset_state();
  instance.criticalError = false;
};

/** Makes a call into WebAssembly. Whatever it returns or throws comes out, and a crash is remembered. */
const guarded = (call) => {
  renew();
  let result;
  try {
    result = call();
  } catch (error) {
    note(error);
    throw error;
  }
  // Most calls give no promise, and wait for nothing.
  return result instanceof Promise ? result.catch((error) => { note(error); throw error; }) : result;
};

// The most that a frame may have.
let frameBytesMax;

export class UserObject extends DurableObject {
  #inner;
  #madeIn;

  constructor(state, env) {
    super(state, env);
    guarded(() => this.#make());
    frameBytesMax ??= this.#inner.frameBytesMax();
  }

  #make() {
    this.#inner = new Inner(this.ctx, this.env);
    this.#madeIn = instance.instanceId;
  }

  #call(call) {
    return guarded(() => {
      if (this.#madeIn !== instance.instanceId) this.#make();
      return call(this.#inner);
    });
  }

  fetch(request) {
    return this.#call((inner) => inner.fetch(request));
  }

  alarm() {
    return this.#call((inner) => inner.alarm());
  }

  webSocketMessage(socket, message) {
    this.#call((inner) =>
      isRead(message, frameBytesMax) ? inner.frame(socket, message) : inner.unreadFrame(socket, bytesOf(message)),
    );
  }

  webSocketClose(socket, code) {
    this.#call((inner) => inner.gone(socket, code));
  }

  webSocketError(socket) {
    this.#call((inner) => inner.gone(socket));
  }

  // Another user's object speaks: a PeerMessage in JSON, answered by a PeerAnswer or, for
  // the usual one, by nothing.
  peer(message) {
    return this.#call((inner) => inner.peer(message));
  }
}

export default {
  fetch: (request, env, context) => guarded(() => fetch(request, env, context)),
};
