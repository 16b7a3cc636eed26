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
    return this.#inner.webSocketMessage(socket, message);
  }

  webSocketClose(socket, code, reason, wasClean) {
    return this.#inner.webSocketClose(socket, code, reason, wasClean);
  }

  webSocketError(socket, error) {
    return this.#inner.webSocketError(socket, error);
  }

  // Another user's object speaks: a PeerMessage in JSON, answered by a PeerAnswer.
  peer(message) {
    return this.#inner.peer(message);
  }
}

export default worker;
