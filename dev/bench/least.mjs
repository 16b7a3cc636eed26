// The least that anyone would write for the same job as the edge's, to be measured beside it: one object per user,
// hibernating sockets, friends told by RPC.
//
// Deliberately absent: rules. Everybody sees every page, nothing is repeated when it fails, what comes late or twice
// is shown all the same, and nobody hears of a new friend before they connect again.
import { DurableObject } from "cloudflare:workers";
import { createRemoteJWKSet, jwtVerify, SignJWT } from "jose";

let keys;
let requests = 0;

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/healthz") return new Response("ok");
    if (pathname === "/requests") return Response.json(requests);
    const [, token] = request.headers.get("sec-websocket-protocol").split(", ");
    keys ??= createRemoteJWKSet(new URL(env.OIDC_JWKS_URL));
    const rules = { issuer: env.OIDC_ISSUER, audience: env.OIDC_AUDIENCE };
    const { payload } = await jwtVerify(token, keys, rules);
    return env.USERS.getByName(payload.sub).fetch(request);
  },
};

export class UserObject extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.me = ctx.id.name;
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('{"action":"heartbeat"}', '{"type":"heartbeat"}'));
    this.online = new Set([...ctx.storage.kv.list({ prefix: "online:" })].map(([key]) => key.slice("online:".length)));
    this.page = ctx.getWebSockets()[0]?.deserializeAttachment() ?? { url: "", title: "" };
  }

  async fetch(request) {
    requests += 1;
    const social = await this.social();
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    server.serializeAttachment(this.page);
    const pages = await Promise.all(
      social.friends.map(({ user_id }) => this.env.USERS.getByName(user_id).hello(this.me, this.page)),
    );
    const presence = social.friends.map(({ user_id }, place) => ({ userId: user_id, page: pages[place] }));
    for (const { userId, page } of presence) if (page) this.came(userId);
    server.send(JSON.stringify({ type: "presence-snapshot", presence, users: social.friends }));
    return new Response(null, { status: 101, webSocket: client, headers: { "sec-websocket-protocol": "pagenow" } });
  }

  async social() {
    const token = await new SignJWT()
      .setProtectedHeader({ alg: "HS256" })
      .setIssuer("edge")
      .setAudience("core-internal")
      .setIssuedAt()
      .setExpirationTime("1m")
      .sign(new TextEncoder().encode(this.env.SERVICE_TOKEN_SECRET));
    const url = `${this.env.CORE_URL}/internal/users/${this.me}/social`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    return answer.json();
  }

  hello(from, page) {
    requests += 1;
    if (this.ctx.getWebSockets().length === 0) return null;
    this.came(from);
    this.send({ type: "update-presence", userId: from, ...page });
    return this.page;
  }

  peer(message) {
    requests += 1;
    for (const socket of this.ctx.getWebSockets()) socket.send(message);
  }

  bye(from) {
    requests += 1;
    this.online.delete(from);
    this.ctx.storage.kv.delete(`online:${from}`);
    this.send({ type: "presence-timeout", userId: from });
  }

  came(friend) {
    if (this.online.has(friend)) return;
    this.online.add(friend);
    this.ctx.storage.kv.put(`online:${friend}`, true);
  }

  send(message) {
    const text = JSON.stringify(message);
    for (const socket of this.ctx.getWebSockets()) socket.send(text);
  }

  async webSocketMessage(socket, text) {
    const { action, url, title } = JSON.parse(text);
    if (action === "goodbye") return socket.close(1000);
    this.page = { url, title };
    socket.serializeAttachment(this.page);
    const message = JSON.stringify({ type: "update-presence", userId: this.me, url, title, at: new Date() });
    await Promise.all([...this.online].map((friend) => this.env.USERS.getByName(friend).peer(message)));
  }

  async webSocketClose(socket, code) {
    socket.close(code);
    if (this.ctx.getWebSockets().some((other) => other !== socket)) return;
    await Promise.all([...this.online].map((friend) => this.env.USERS.getByName(friend).bye(this.me)));
  }
}
