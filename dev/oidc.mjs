// The OIDC provider of development: oauth2-mock-server (discovery, JWKS, authorization code with PKCE), with tokens like the
// ID tokens of Amazon Cognito. Everybody who reaches it can sign in as anybody. So it listens only on 127.0.0.1, unless it is
// given another address. A container gives one, and publishes the port only on 127.0.0.1.
//
// The authorization endpoint signs in the user of the `login_hint`. Without a hint it shows a page that asks for the user.
// Refresh tokens stay valid across restarts. A revoked one is refused until the next restart.
//
// Deliberately absent: passwords, consent and sessions. Without a `login_hint`, the page asks each time.
//
// node dev/oidc.mjs PORT KEY_FILE AUDIENCE [ADDRESS]

import { AssertionError } from "node:assert";
import { createHash, createHmac, generateKeyPairSync, randomUUID, timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { argv, pid } from "node:process";

import { Events, OAuth2Server } from "oauth2-mock-server";

const [port, keyFile, audience, address = "127.0.0.1"] = argv.slice(2);

/** The signing key. The first start makes it, and later starts read it, so that tokens stay valid. */
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

// The library's own endpoints move to other paths, and ours take their place. Its authorization endpoint never asks for the
// user, and its revocation endpoint revokes nothing.
const server = new OAuth2Server(undefined, undefined, {
  endpoints: { authorize: "/authorize/code", revoke: "/revoke/nothing" },
});
const key = signingKey();
await server.issuer.keys.add(key);

/** The allowed redirect addresses: pages on this machine, and extensions. */
const REDIRECTS = [
  /^http:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(\/|$)/,
  /^https:\/\/[a-p]{32}\.chromiumapp\.org(\/|$)/,
  /^https:\/\/[0-9a-f]{40}\.extensions\.allizom\.org(\/|$)/,
];

const refuse = (message) => {
  throw new AssertionError({ message });
};

/** The value of a parameter that may occur only once. */
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

/** Whether a text is a valid user id: 1 to 128 characters, without spaces, commas and control characters. */
const isUserId = (text) => /^[^\s,\p{Cc}]{1,128}$/u.test(text);

/** Checks an authorization request and returns its parameters. Each may occur only once. */
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

/** The page that asks for the user: links for the users of development, and a form for any other name. */
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

/** Who signed in, by authorization code. A code is valid once, and for ten minutes. */
const signedIn = new Map();

server.service.on(Events.BeforeAuthorizeRedirect, ({ url }, { query }) => {
  const { login_hint: user, client_id: client, redirect_uri: redirect } = authorization(query);
  if (!user) refuse("login_hint: is missing");
  const code = url.searchParams.get("code");
  signedIn.set(code, { user, client, redirect });
  setTimeout(() => signedIn.delete(code), 600_000).unref();
});

server.service.on(Events.BeforePostLogoutRedirect, ({ url }) => checkRedirect(url.href));

// A secret of its own for refresh tokens, derived from the private half of the signing key.
const refreshSecret = createHash("sha256").update(`refresh ${key.d}`).digest();
const seal = (body) => createHmac("sha256", refreshSecret).update(body).digest("base64url");

/** A refresh token. It holds the session that it refreshes, and an id by which it is revoked. */
function refreshToken(session) {
  const body = Buffer.from(JSON.stringify({ ...session, id: randomUUID() })).toString("base64url");
  return `${body}.${seal(body)}`;
}

/** Ids of the refresh tokens that were revoked since the start. */
const revoked = new Set();

/** The session in a refresh token; undefined if it is not one of ours, or is revoked. */
function refreshed(token) {
  const [body, mark] = String(token).split(".");
  const [given, expected] = [Buffer.from(mark ?? ""), Buffer.from(seal(body))];
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const session = JSON.parse(Buffer.from(body, "base64url"));
  return revoked.has(session.id) ? undefined : session;
}

/** The user and client of a request at the token endpoint; undefined if the request must be refused. */
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
      // If there is a verifier, the library compares it with the challenge.
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
    // Tests of refused tokens ask for other values.
    iss: body.issuer ?? payload.iss,
    token_use: body.token_use ?? "id",
    email: email ?? `${user}@example.com`,
    // The parameter is read as JSON, because some providers write a text here. What is not JSON is taken as text. An empty
    // text leaves the claim out.
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
    // The number of seconds comes as text. One that is not a number would give a token that never expires.
    answer.statusCode = 400;
    answer.body = { error: "invalid_request", error_description: "expires_in is a whole number of seconds" };
  } else {
    const { redirect, ...kept } = asked;
    // A refresh token that is valid stays valid.
    const refresh_token = body.grant_type === "refresh_token" ? body.refresh_token : refreshToken(kept);
    Object.assign(answer.body, { refresh_token, expires_in: Number(body.expires_in ?? 3600) });
  }
});

// RFC 7009, section 2.2: a token that is not valid is answered like one that was revoked.
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
