// How the runtime treats keys and signatures. The keys are made here.
import assert from "node:assert/strict";
import { createHmac, createSign, generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { importKey, isSigned, sign as signForCore } from "../src/signatures.mjs";

const pair = () => generateKeyPairSync("rsa", { modulusLength: 2048 });

const jwk = (key, more) => JSON.stringify({ ...key.export({ format: "jwk" }), kid: "one", use: "sig", ...more });

const sign = (key, message, hash = "RSA-SHA256") => createSign(hash).update(message).sign(key, "base64url");

test("a signature is good for its message and its key alone", async () => {
  const [ours, theirs] = [pair(), pair()];
  const key = await importKey(jwk(ours.publicKey, { alg: "RS256" }));
  const signature = sign(ours.privateKey, "header.claims");
  assert.equal(await isSigned(key, "header.claims", signature), true);
  assert.equal(await isSigned(key, "header.claimz", signature), false);
  assert.equal(await isSigned(key, "header.claims", sign(theirs.privateKey, "header.claims")), false);
  assert.equal(await isSigned(key, "header.claims", sign(ours.privateKey, "header.claims", "RSA-SHA512")), false);
  assert.equal(await isSigned(key, "header.claims", ""), false);
  assert.equal(await isSigned(await importKey(jwk(theirs.publicKey)), "header.claims", signature), false);
});

test("only one spelling of a signature is accepted", async () => {
  const { publicKey, privateKey } = pair();
  const key = await importKey(jwk(publicKey));
  // The signature holds both letters in which base64 and base64url differ.
  let [message, signature] = [0, ""];
  while (!/-/.test(signature) || !/_/.test(signature)) signature = sign(privateKey, `${++message}`);
  assert.equal(await isSigned(key, `${message}`, signature), true);
  const plus = signature.replaceAll("-", "+");
  const slash = signature.replaceAll("_", "/");
  // A signature has 256 bytes, so four bits of the last letter are unused.
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const bits = signature.slice(0, -1) + letters[letters.indexOf(signature.at(-1)) + 1];
  for (const other of [plus, slash, bits, `${signature}==`, ` ${signature}`, `${signature}\n`]) {
    assert.equal(await isSigned(key, `${message}`, other), false, JSON.stringify(other));
  }
});

test("a signature that is no base64url and a key that is not for RS256 are errors", async () => {
  const { publicKey } = pair();
  const key = await importKey(jwk(publicKey));
  await assert.rejects(isSigned(key, "header.claims", "%"));
  await assert.rejects(importKey(jwk(publicKey, { alg: "RS512" })));
  await assert.rejects(importKey(jwk(publicKey, { use: "enc" })));
  await assert.rejects(importKey(JSON.stringify({ kty: "RSA", kid: "one" })));
  await assert.rejects(importKey("no key"));
});

test("what is signed for the core is HS256 with the secret", async () => {
  // There are many messages, so that signatures hold both letters in which base64 and base64url differ.
  for (let n = 0; n < 50; n += 1) {
    const message = `header.${n}`;
    const signature = createHmac("sha256", "a secret, at length").update(message).digest("base64url");
    assert.equal(await signForCore("a secret, at length", message), signature);
  }
});
