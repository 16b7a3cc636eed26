// People without a browser, who fill the screens of those with one. They call the API and hold sockets as clients do.

import { once } from "node:events";

import { CLIENT_ID, ISSUER, ORIGIN } from "./system.mjs";

/** A registered user. */
export class Person {
  static async register(id, first, last, { language } = {}) {
    const person = new Person();
    Object.assign(person, { id, first, last, language });
    const body = new URLSearchParams({ grant_type: "password", username: id, client_id: CLIENT_ID, scope: "openid" });
    const answer = await fetch(`${ISSUER}/token`, { method: "POST", body });
    person.token = (await answer.json()).id_token;
    await person.call("POST", "/users/me", { first_name: first, last_name: last });
    return person;
  }

  async call(method, path, body) {
    const answer = await fetch(ORIGIN + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path} was answered ${answer.status}: ${await answer.text()}`);
    return answer.status === 204 ? undefined : answer.json();
  }

  async befriend(other) {
    await this.ask(other);
    await other.call("POST", "/friendship/accept", { user_id1: this.id });
  }

  ask(other) {
    return this.call("POST", "/friendship/requests", { user_id2: other.id });
  }

  /** Changes the user's share settings, so that friends see pages of every site. */
  async shareAll() {
    const now = await this.call("GET", "/users/me");
    await this.call("PUT", "/users/me", { ...now, share_mode: "default_all" });
  }

  /** Connects, and turns to the page if one is given. The messages of the channel are in `heard`. */
  async online(url, title, { idle = false } = {}) {
    this.socket = new WebSocket(`${ORIGIN.replace(/^http/, "ws")}/ws`, ["pagenow", this.token]);
    this.heard = [];
    this.socket.addEventListener("message", ({ data }) => this.heard.push(JSON.parse(data)));
    await once(this.socket, "open");
    if (url) this.socket.send(JSON.stringify({ action: "update-presence", url, title }));
    if (idle) this.socket.send(JSON.stringify({ action: "set-idle", idle: true }));
    this.beat = setInterval(() => this.socket.send('{"action":"heartbeat"}'), 20_000);
  }

  leave() {
    clearInterval(this.beat);
    this.socket?.close();
  }
}
