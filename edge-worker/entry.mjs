// What the runtime loads. Only a class that extends DurableObject can be called by RPC, and the one that
// comes out of WebAssembly does not: this thin one holds it and hands every call through.
import { DurableObject } from "cloudflare:workers";
import { bytesOf, isRead } from "./src/frames.mjs";
import worker, { UserObject as Inner } from "./build/index.js";

// The methods that are called most. worker-build wraps each anew whenever it is asked for one, so that a crash within
// it is noticed: once is enough, as the wrapper is the same for all objects.
let frame;
let peer;

// The most that a frame may have.
let frameBytesMax;

export class UserObject extends DurableObject {
  #inner;

  constructor(state, env) {
    super(state, env);
    this.#inner = new Inner(state, env);
    frame ??= this.#inner.frame;
    peer ??= this.#inner.peer;
    frameBytesMax ??= this.#inner.frameBytesMax();
  }

  fetch(request) {
    return this.#inner.fetch(request);
  }

  alarm() {
    return this.#inner.alarm();
  }

  webSocketMessage(socket, message) {
    if (isRead(message, frameBytesMax)) Reflect.apply(frame, this.#inner, [socket, message]);
    else this.#inner.unreadFrame(socket, bytesOf(message));
  }

  webSocketClose(socket, code) {
    this.#inner.gone(socket, code);
  }

  webSocketError(socket) {
    this.#inner.gone(socket);
  }

  // Another user's object speaks: a PeerMessage in JSON, answered by a PeerAnswer or, for
  // the usual one, by nothing.
  peer(message) {
    return Reflect.apply(peer, this.#inner, [message]);
  }
}

export default worker;
