// What the runtime loads. Only a class that extends DurableObject can be called by RPC, and the one that
// comes out of WebAssembly does not: this thin one holds it and hands every call through.
import { DurableObject } from "cloudflare:workers";
import worker, { UserObject as Inner } from "./build/index.js";

export class UserObject extends DurableObject {
  #inner;

  constructor(state, env) {
    super(state, env);
    this.#inner = new Inner(state, env);
  }

  fetch(request) {
    return this.#inner.fetch(request);
  }

  alarm() {
    return this.#inner.alarm();
  }

  webSocketMessage(socket, message) {
    this.#inner.frame(socket, message);
  }

  webSocketClose(socket, code) {
    this.#inner.gone(socket, code);
  }

  webSocketError(socket) {
    this.#inner.gone(socket);
  }

  // Another user's object speaks: a PeerMessage in JSON, answered by a PeerAnswer.
  peer(message) {
    return this.#inner.peer(message);
  }
}

export default worker;
