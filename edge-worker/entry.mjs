// The module that the runtime loads. Only a class that extends DurableObject can be called by RPC, and the class from WebAssembly
// does not extend it. So the class here holds that one, and passes every call on to it.
//
// After a panic or a trap, WebAssembly's memory cannot be trusted. The next call starts with a new, empty memory. Every object
// then restores itself from storage, as it does after hibernation.
import { DurableObject } from "cloudflare:workers";
import { __wbg_reset_state, __worker_init_state, fetch, UserObject as Inner } from "./build/index.js";
import { bytesOf, isRead } from "./src/frames.mjs";

// State that is shared with the Rust side. Rust sets `criticalError` after a panic, and counts its starts in `instanceId`.
const instance = __worker_init_state();

// Takes note of a crash. It gets every error that leaves a call, and every error or rejection that nothing handles.
const note = (error) => {
  if (error instanceof WebAssembly.RuntimeError) instance.criticalError = true;
};
addEventListener("error", ({ error }) => note(error));
addEventListener("unhandledrejection", ({ reason }) => note(reason));

/** Starts WebAssembly again if an earlier call has crashed it. */
const renew = () => {
  if (!instance.criticalError) return;
  console.error(JSON.stringify({ level: "error", error: "the worker begins anew after a panic" }));
  __wbg_reset_state();
  instance.criticalError = false;
};

/** Makes a call into WebAssembly, and takes note of a crash. The result and the errors of the call are passed through. */
const guarded = (call) => {
  renew();
  let result;
  try {
    result = call();
  } catch (error) {
    note(error);
    throw error;
  }
  // Most calls return no promise.
  return result instanceof Promise ? result.catch((error) => { note(error); throw error; }) : result;
};

// The largest frame that is read, in bytes.
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

  // Takes a message of another user's object: a PeerMessage as JSON. The answer is a PeerAnswer as JSON, or nothing for the most
  // frequent one.
  peer(message) {
    return this.#call((inner) => inner.peer(message));
  }
}

export default {
  fetch: (request, env, context) => guarded(() => fetch(request, env, context)),
};
