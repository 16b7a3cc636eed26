// The OIDC provider of development: oauth2-mock-server (discovery, JWKS, authorization code with PKCE), its tokens
// shaped like the ID tokens of Amazon Cognito. Whoever reaches it may sign in as anybody, so it listens on
// 127.0.0.1 alone, unless it is told another address: inside a container whose port is published there.
//
// Deliberately absent: passwords, users, consent. The authorization endpoint signs in the `login_hint`.
//
// node dev/oidc.mjs PORT KEY_FILE AUDIENCE [ADDRESS]

import { generateKeyPairSync, randomUUID } from "node:crypto";
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

const server = new OAuth2Server();
server.issuer.url = `http://127.0.0.1:${port}`;
await server.issuer.keys.add(signingKey());

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Who signed in, by authorization code. A code is good for ten minutes. */
const signedIn = new Map();

server.service.on(Events.BeforeAuthorizeRedirect, ({ url }, request) => {
  const code = url.searchParams.get("code");
  if (code === null) return;
  signedIn.set(code, request.query.login_hint ?? "alice");
  setTimeout(() => signedIn.delete(code), 600_000).unref();
});

server.service.on(Events.BeforeTokenSigning, ({ payload }, { body }) => {
  const user = body.username ?? signedIn.get(body.code);
  if (user === undefined) return;
  const now = Math.floor(Date.now() / 1000);
  Object.assign(payload, {
    sub: user,
    aud: body.client_id ?? audience,
    exp: now + Number(body.expires_in ?? 3600),
    iat: now,
    auth_time: now,
    // Whoever tests what is refused asks for other values.
    iss: body.issuer ?? payload.iss,
    token_use: body.token_use ?? "id",
    email: body.email ?? `${user}@example.com`,
    // As JSON, for providers write it as text too; what is no JSON is that text. Empty: not in the token.
    email_verified: parsed(body.email_verified ?? "true"),
    "cognito:username": user,
  });
  for (const claim of ["email", "email_verified"]) {
    if (body[claim] === "") delete payload[claim];
  }
  delete payload.nbf;
  delete payload.scope;
});

// The token endpoint takes the number of seconds as text; what is no number would sign a token without an end.
server.service.on(Events.BeforeResponse, (answer, { body }) => {
  if (body.expires_in !== undefined && !Number.isInteger(Number(body.expires_in))) {
    answer.statusCode = 400;
    answer.body = { error: "invalid_request", error_description: "expires_in is a whole number of seconds" };
  }
});

await server.start(Number(port), address);
console.log(`listening on ${server.issuer.url}`);
