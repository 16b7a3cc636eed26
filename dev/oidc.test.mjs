// Tests the provider of development, as a process, with what an application does to sign users in and out.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";

const CLIENT = "pagenow-dev";
const PAGE = "http://localhost:8787/app/";

const dir = mkdtempSync(join(tmpdir(), "oidc-"));
let provider;
let metadata;

async function start(port = 0) {
  const program = fileURLToPath(new URL("oidc.mjs", import.meta.url));
  const args = [program, String(port), join(dir, "key.json"), CLIENT];
  provider = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(provider.stdout, "data");
  const url = String(line).trim().split(" ").at(-1);
  metadata = await (await fetch(`${url}/.well-known/openid-configuration`)).json();
}

async function stop() {
  provider.kill();
  await once(provider, "exit");
}

before(() => start());

after(async () => {
  await stop();
  rmSync(dir, { recursive: true });
});

/** The URL of a request for a code, and its PKCE verifier. */
function request(more = {}) {
  const verifier = randomBytes(32).toString("base64url");
  const parameters = {
    client_id: CLIENT,
    redirect_uri: PAGE,
    response_type: "code",
    scope: "openid email",
    state: "a state",
    nonce: "a nonce",
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
    ...more,
  };
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  return { url: `${metadata.authorization_endpoint}?${new URLSearchParams(given)}`, verifier };
}

/** Follows redirects, and returns the first address outside the provider. */
async function redirected(url) {
  for (;;) {
    const answer = await fetch(url, { redirect: "manual" });
    assert.equal(answer.status, 302, await answer.text());
    url = new URL(answer.headers.get("location"), url).href;
    if (!url.startsWith(metadata.issuer)) return new URL(url);
  }
}

async function token(form) {
  const body = new URLSearchParams({ client_id: CLIENT, ...form });
  const answer = await fetch(metadata.token_endpoint, { method: "POST", body });
  return { status: answer.status, cors: answer.headers.get("access-control-allow-origin"), ...(await answer.json()) };
}

const exchange = (code, verifier, more = {}) =>
  token({ grant_type: "authorization_code", code, code_verifier: verifier, redirect_uri: PAGE, ...more });

const claims = (jwt) => JSON.parse(Buffer.from(jwt.split(".")[1], "base64url"));

/** The claims that are the same in all tokens of a session. */
const lasting = ({ sub, iss, aud, email, email_verified, token_use, "cognito:username": name }) =>
  ({ sub, iss, aud, email, email_verified, token_use, name });

async function signIn(name) {
  const { url, verifier } = request({ login_hint: name });
  const back = await redirected(url);
  return exchange(back.searchParams.get("code"), verifier);
}

test("the metadata names everything that signing in and out needs", () => {
  for (const name of ["authorization", "token", "revocation", "end_session"]) {
    assert.ok(metadata[`${name}_endpoint`].startsWith(`${metadata.issuer}/`), name);
  }
  for (const grant of ["authorization_code", "refresh_token"]) assert.ok(metadata.grant_types_supported.includes(grant));
  assert.deepEqual(metadata.code_challenge_methods_supported, ["S256"]);
});

test("a page asks for the user, and each choice signs that user in", async () => {
  const { url, verifier } = request();
  const answer = await fetch(url);
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type"), /^text\/html/);
  assert.match(answer.headers.get("content-security-policy"), /default-src 'none'/);
  const page = await answer.text();
  const links = [...page.matchAll(/<a id="(\w+)" href="([^"]+)"/g)];
  assert.deepEqual(links.map(([, name]) => name), ["alice", "bob", "carol"]);
  const unescaped = (text) => text.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(code));
  const back = await redirected(new URL(unescaped(links[1][2]), url).href);
  assert.equal(back.origin + back.pathname, PAGE);
  assert.equal(back.searchParams.get("state"), "a state");
  const tokens = await exchange(back.searchParams.get("code"), verifier);
  assert.equal(tokens.status, 200);
  const { sub, email, nonce, aud, token_use } = claims(tokens.id_token);
  const expected = { sub: "bob", email: "bob@example.com", nonce: "a nonce", aud: CLIENT, token_use: "id" };
  assert.deepEqual({ sub, email, nonce, aud, token_use }, expected);

  // A user with another name, by the form.
  const fields = [...page.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)];
  const form = new URLSearchParams(fields.map(([, name, value]) => [name, unescaped(value)]));
  form.set("login_hint", "Zoë");
  const action = page.match(/<form action="([^"]+)"/)[1];
  const other = await redirected(`${new URL(action, url)}?${form}`);
  const { id_token } = await exchange(other.searchParams.get("code"), verifier);
  assert.equal(claims(id_token)["cognito:username"], "Zoë");
});

test("parameters of a request are escaped in the page", async () => {
  const { url } = request({ state: `"><img src=x onerror=alert(1)>'` });
  const page = await (await fetch(url)).text();
  assert.ok(!page.includes("<img"), page);
});

test("with a login_hint no page asks, unless the application asks for it with prompt", async () => {
  assert.ok((await redirected(request({ login_hint: "carol" }).url)).searchParams.get("code"));
  for (const prompt of ["login", "select_account"]) {
    assert.equal((await fetch(request({ login_hint: "carol", prompt }).url)).status, 200);
  }
  const back = await redirected(request({ prompt: "none" }).url);
  assert.deepEqual(Object.fromEntries(back.searchParams), { error: "login_required", state: "a state" });
});

test("users are redirected only to pages on this machine and to extensions", async () => {
  const extension = `https://${"abcdefghijklmnop".repeat(2)}.chromiumapp.org/`;
  const addon = `https://${"0123456789".repeat(4)}.extensions.allizom.org/`;
  for (const redirect_uri of [PAGE, "http://127.0.0.1:1/app/", "http://[::1]:1/", extension, `${addon}callback`]) {
    const back = await redirected(request({ redirect_uri, login_hint: "alice" }).url);
    assert.ok(back.href.startsWith(redirect_uri), back.href);
  }
  const foreign = [
    undefined,
    "not a url",
    "https://evil.example/",
    "http://localhost.evil.example/",
    "http://localhost@evil.example/",
    "http://127.0.0.1:80@evil.example/",
    "https://evil.example/.chromiumapp.org/",
    `${extension.slice(0, -1)}.evil.example/`,
    "https://short.chromiumapp.org/",
    "javascript:alert(1)",
  ];
  for (const redirect_uri of foreign) {
    const { url } = request({ redirect_uri, login_hint: "alice" });
    const answer = await fetch(url, { redirect: "manual" });
    assert.equal(answer.status, 400, `${redirect_uri}`);
    assert.match((await answer.json()).detail, /^redirect_uri: /);
    // The endpoint behind the page refuses the address too.
    const past = await fetch(url.replace("/authorize?", "/authorize/code?"), { redirect: "manual" });
    assert.deepEqual([past.status >= 400, past.headers.get("location")], [true, null], `${redirect_uri}`);
  }
});

test("a request that is wrong is refused, and the answer names the parameter", async () => {
  const bad = [
    [{ client_id: undefined }, "client_id"],
    [{ response_type: "token" }, "response_type"],
    [{ code_challenge: undefined }, "code_challenge"],
    [{ code_challenge_method: "plain" }, "code_challenge"],
    [{ login_hint: "a b" }, "login_hint"],
  ];
  for (const [more, field] of bad) {
    const answer = await fetch(request(more).url, { redirect: "manual" });
    assert.equal(answer.status, 400, field);
    assert.ok((await answer.json()).detail.startsWith(`${field}: `), field);
  }
});

test("a code is valid once, for the client that asked for it, with the verifier", async () => {
  const code = async (name) => {
    const { url, verifier } = request({ login_hint: name });
    return [(await redirected(url)).searchParams.get("code"), verifier];
  };
  const [first, verifier] = await code("alice");
  assert.equal((await exchange(first, verifier)).status, 200);
  assert.equal((await exchange(first, verifier)).status, 400, "a second time");
  const [second] = await code("alice");
  assert.equal((await exchange(second, randomBytes(32).toString("base64url"))).status, 400, "another verifier");
  const [third] = await code("alice");
  const bare = { grant_type: "authorization_code", code: third, redirect_uri: PAGE };
  assert.equal((await token(bare)).error, "invalid_grant", "no verifier");
  const [fourth, fourths] = await code("alice");
  assert.equal((await exchange(fourth, fourths, { client_id: "another" })).error, "invalid_grant");
  const [fifth, fifths] = await code("alice");
  assert.equal((await exchange(fifth, fifths, { redirect_uri: "http://localhost/" })).error, "invalid_grant");
});

test("a refreshed token has the same claims, also after a restart, and pages may ask for it", async () => {
  const first = await signIn("bob");
  assert.equal(first.cors, "*");
  const again = await token({ grant_type: "refresh_token", refresh_token: first.refresh_token });
  assert.equal(again.status, 200);
  assert.deepEqual(lasting(claims(again.id_token)), lasting(claims(first.id_token)));
  assert.equal(again.expires_in, 3600);

  await stop();
  await start(new URL(metadata.issuer).port);
  const later = await token({ grant_type: "refresh_token", refresh_token: again.refresh_token });
  assert.deepEqual(lasting(claims(later.id_token)), lasting(claims(first.id_token)));
  const short = await token({ grant_type: "refresh_token", refresh_token: again.refresh_token, expires_in: "5" });
  const { iat, exp } = claims(short.id_token);
  assert.deepEqual([exp - iat, short.expires_in], [5, 5]);
});

test("a refresh token that is invented, changed, revoked or of another client is refused", async () => {
  const { refresh_token } = await signIn("alice");
  const body = Buffer.from(JSON.stringify({ user: "bob", client: CLIENT, id: "x" })).toString("base64url");
  for (const bad of ["", "x", body, `${body}.${refresh_token.split(".")[1]}`]) {
    assert.equal((await token({ grant_type: "refresh_token", refresh_token: bad })).error, "invalid_grant", bad);
  }
  const refresh = (more) => token({ grant_type: "refresh_token", refresh_token, ...more });
  assert.equal((await refresh({ client_id: "another" })).error, "invalid_grant");
  assert.equal((await refresh()).status, 200);
  const other = await signIn("alice");
  for (const revoked of [refresh_token, refresh_token, "none of ours"]) {
    const body = new URLSearchParams({ token: revoked, client_id: CLIENT });
    assert.equal((await fetch(metadata.revocation_endpoint, { method: "POST", body })).status, 200);
  }
  assert.equal((await refresh()).error, "invalid_grant");
  assert.equal((await token({ grant_type: "refresh_token", refresh_token: other.refresh_token })).status, 200);
});

test("signing out redirects to an allowed address, and to no other", async () => {
  const leave = (uri) => {
    const query = new URLSearchParams({ post_logout_redirect_uri: uri, state: "s" });
    return fetch(`${metadata.end_session_endpoint}?${query}`, { redirect: "manual" });
  };
  const answer = await leave(PAGE);
  assert.deepEqual([answer.status, answer.headers.get("location")], [302, `${PAGE}?state=s`]);
  assert.equal((await leave("https://evil.example/")).status, 400);
  assert.equal((await fetch(metadata.end_session_endpoint)).status, 200);
});
