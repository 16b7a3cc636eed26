// The OIDC provider of development: oauth2-mock-server (discovery, JWKS, authorization code with PKCE), its tokens
// shaped like the ID tokens of Amazon Cognito. Anyone who reaches it may sign in as anybody, so it listens on
// 127.0.0.1 alone, unless it is told another address: inside a container whose port is published there.
//
// The authorization endpoint signs in the `login_hint`, and asks who one is where there is none. Refresh tokens are good
// until they are revoked, across restarts too.
//
// Deliberately absent: passwords, consent, sessions: a user without a `login_hint` is asked each time.
//
// node dev/oidc.mjs PORT KEY_FILE AUDIENCE [ADDRESS]

import { AssertionError } from "node:assert";
import { createHash, createHmac, generateKeyPairSync, randomUUID, timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { argv, pid } from "node:process";

import { Events, OAuth2Server } from "oauth2-mock-server";

const [port, keyFile, audience, address = "127.0.0.1"] = argv.slice(2);

/** The key of earlier starts, so that tokens stay good; made at the first. */
function signingKey() {
  if (!existsSync(keyFile)) {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const key = { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), alg: "RS256", use: "sig" };
    const unfinished = `${keyFile}.new-${pid}`;
    writeFileSync(unfinished, JSON.stringify(key), { mode: 0o600 });
    renameSync(unfinished, keyFile);
  }
  return JSON.parse(readFileSync(keyFile, "utf8"));
}

// The library's own endpoints stand behind ours: its authorization endpoint signs in without a question, and it revokes nothing.
const server = new OAuth2Server(undefined, undefined, {
  endpoints: { authorize: "/authorize/code", revoke: "/revoke/nothing" },
});
const key = signingKey();
await server.issuer.keys.add(key);

/** Where people may be sent back to: pages of this machine, and extensions. */
const REDIRECTS = [
  /^http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(\/|$)/,
  /^https:\/\/[a-p]{32}\.chromiumapp\.org(\/|$)/,
  /^https:\/\/[0-9a-f]{40}\.extensions\.allizom\.org(\/|$)/,
];

const refuse = (message) => {
  throw new AssertionError({ message });
};

/** A parameter that may stand once. */
const single = (parameters, name) => {
  const value = parameters[name];
  if (Array.isArray(value)) refuse(`${name}: stands more than once`);
  return value;
};

function checkRedirect(uri) {
  if (!URL.canParse(uri ?? "") || !REDIRECTS.some((allowed) => allowed.test(new URL(uri).href))) {
    refuse("redirect_uri: must be an address of a page on this machine or of an extension");
  }
}

/** As user ids of tokens are: no spaces, commas or control characters. */
const isUserId = (text) => /^[^\s,\p{Cc}]{1,128}$/u.test(text);

/** The parameters of an authorization request, each once. */
function authorization(query) {
  const parameters = Object.fromEntries(Object.keys(query).map((name) => [name, single(query, name)]));
  checkRedirect(parameters.redirect_uri);
  if (!parameters.client_id) refuse("client_id: is missing");
  if (parameters.response_type !== "code") refuse("response_type: must be code");
  if (!parameters.code_challenge || parameters.code_challenge_method !== "S256") {
    refuse("code_challenge: must be there, with code_challenge_method S256");
  }
  if (parameters.login_hint && !isUserId(parameters.login_hint)) {
    refuse("login_hint: must be a user id of 1 to 128 characters, without spaces and commas");
  }
  return parameters;
}

const escaped = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);

/** The page that asks who one is: people of development by links, anybody else by name. */
function chooser(parameters) {
  const address = (name) => `/authorize/code?${new URLSearchParams({ ...parameters, login_hint: name })}`;
  const people = ["alice", "bob", "carol"]
    .map((name) => `<li><a id="${name}" href="${escaped(address(name))}">${name}</a></li>`)
    .join("");
  const hidden = Object.entries(parameters)
    .filter(([name]) => name !== "login_hint")
    .map(([name, value]) => `<input type="hidden" name="${escaped(name)}" value="${escaped(value)}">`)
    .join("");
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Who are you?</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  main { max-width: 20rem; margin: 4rem auto; padding: 0 1rem }
  ul { list-style: none; padding: 0 }
  a, button, input { display: block; box-sizing: border-box; width: 100%; padding: .6rem .8rem; margin: .4rem 0; font: inherit;
    border: 1px solid #8888; border-radius: .4rem; color: inherit; background: none; text-decoration: none; text-align: start }
  button { text-align: center }
</style>
<main>
  <h1>Who are you?</h1>
  <p>This is the sign-in of development. It asks for no password.</p>
  <ul>${people}</ul>
  <form action="/authorize/code">${hidden}
    <label>Somebody else
      <input id="name" name="login_hint" required maxlength="128" pattern="[^\\s,]+" title="No spaces and no commas"
        autocomplete="off" autocapitalize="off" spellcheck="false">
    </label>
    <button id="sign-in">Sign in</button>
  </form>
</main>
`;
}

server.service.addRoute("GET", "/authorize", (request, response) => {
  const parameters = authorization(request.query);
  const prompts = (parameters.prompt ?? "").split(" ");
  const back = (query) => {
    const url = new URL(parameters.redirect_uri);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    if (parameters.state) url.searchParams.set("state", parameters.state);
    return url.href;
  };
  const asks = !parameters.login_hint || prompts.includes("login") || prompts.includes("select_account");
  if (asks && !prompts.includes("none")) {
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.setHeader("Cache-Control", "no-store");
    response.setHeader("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    response.end(chooser(parameters));
    return;
  }
  const location = asks ? back({ error: "login_required" }) : `/authorize/code?${new URLSearchParams(parameters)}`;
  response.writeHead(302, { Location: location }).end();
});

/** Who signed in, by authorization code. A code is good once, and for ten minutes. */
const signedIn = new Map();

server.service.on(Events.BeforeAuthorizeRedirect, ({ url }, { query }) => {
  const { login_hint: user, client_id: client, redirect_uri: redirect } = authorization(query);
  if (!user) refuse("login_hint: is missing");
  const code = url.searchParams.get("code");
  signedIn.set(code, { user, client, redirect });
  setTimeout(() => signedIn.delete(code), 600_000).unref();
});

server.service.on(Events.BeforePostLogoutRedirect, ({ url }) => checkRedirect(url.href));

// Not the signing key itself, whose public half everybody knows.
const refreshSecret = createHash("sha256").update(`refresh ${key.d}`).digest();
const seal = (body) => createHmac("sha256", refreshSecret).update(body).digest("base64url");

/** A token that says whom it refreshes. Its id is what is revoked. */
function refreshToken(session) {
  const body = Buffer.from(JSON.stringify({ ...session, id: randomUUID() })).toString("base64url");
  return `${body}.${seal(body)}`;
}

/** Ids of tokens that were revoked since the start. */
const revoked = new Set();

/** What a refresh token says; undefined where it is none of ours, or revoked. */
function refreshed(token) {
  const [body, mark] = String(token).split(".");
  const [given, expected] = [Buffer.from(mark ?? ""), Buffer.from(seal(body))];
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const session = JSON.parse(Buffer.from(body, "base64url"));
  return revoked.has(session.id) ? undefined : session;
}

/** Whom a request at the token endpoint is about, if it may be answered. */
function session(body) {
  switch (body.grant_type) {
    case "password":
      return { user: body.username, client: body.client_id, email: body.email, email_verified: body.email_verified };
    case "refresh_token": {
      const kept = refreshed(body.refresh_token);
      return kept?.client === body.client_id ? kept : undefined;
    }
    case "authorization_code": {
      const kept = signedIn.get(body.code);
      const same = kept?.client === body.client_id && kept?.redirect === body.redirect_uri;
      // The library compares the verifier with the challenge, where there is one.
      return same && body.code_verifier ? kept : undefined;
    }
    default:
      return undefined;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

server.service.on(Events.BeforeTokenSigning, ({ payload }, { body }) => {
  const { user, email, email_verified } = session(body) ?? {};
  if (user === undefined) return;
  const now = Math.floor(Date.now() / 1000);
  Object.assign(payload, {
    sub: user,
    aud: body.client_id ?? audience,
    exp: now + Number(body.expires_in ?? 3600),
    iat: now,
    auth_time: now,
    // Tests of what is refused ask for other values.
    iss: body.issuer ?? payload.iss,
    token_use: body.token_use ?? "id",
    email: email ?? `${user}@example.com`,
    // As JSON, for providers write it as text too; what is no JSON is that text. Empty: not in the token.
    email_verified: parsed(email_verified ?? "true"),
    "cognito:username": user,
  });
  for (const claim of ["email", "email_verified"]) {
    if (payload[claim] === "") delete payload[claim];
  }
  delete payload.nbf;
  delete payload.scope;
});

server.service.on(Events.BeforeResponse, (answer, { body }) => {
  const asked = session(body);
  signedIn.delete(body.code);
  if (asked === undefined) {
    answer.statusCode = 400;
    answer.body = { error: "invalid_grant", error_description: "the code or token is not good, or not any more" };
  } else if (body.expires_in !== undefined && !Number.isInteger(Number(body.expires_in))) {
    // The token endpoint takes the number of seconds as text; what is no number would sign a token without an end.
    answer.statusCode = 400;
    answer.body = { error: "invalid_request", error_description: "expires_in is a whole number of seconds" };
  } else {
    const { redirect, ...kept } = asked;
    // One that is good stays.
    const refresh_token = body.grant_type === "refresh_token" ? body.refresh_token : refreshToken(kept);
    Object.assign(answer.body, { refresh_token, expires_in: Number(body.expires_in ?? 3600) });
  }
});

// RFC 7009: what is no token of ours is revoked already.
server.service.addRoute("POST", "/revoke", ({ body }, response) => {
  const session = refreshed(body?.token);
  if (session !== undefined) revoked.add(session.id);
  response.end();
});

server.service.on(Events.BeforeWellKnownOpenIdConfiguration, ({ body }) => {
  Object.assign(body, {
    authorization_endpoint: `${body.issuer}/authorize`,
    revocation_endpoint: `${body.issuer}/revoke`,
    grant_types_supported: ["authorization_code", "refresh_token", "password"],
    code_challenge_methods_supported: ["S256"],
    scopes_supported: ["openid", "email"],
    prompt_values_supported: ["none", "login", "select_account"],
  });
});

await server.start(Number(port), address);
server.issuer.url = `http://127.0.0.1:${server.address().port}`;
console.log(`listening on ${server.issuer.url}`);
