// Signatures by the runtime's own cryptography (Web Crypto). In WebAssembly, checking one would take milliseconds, and the code
// for it would be a fifth of the worker.
//
// Deliberately absent: a choice of algorithms. The provider signs with RS256, and a token must not choose how it is checked.
// The edge signs for the core with HS256.

const RS256 = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
const HS256 = { name: "HMAC", hash: "SHA-256" };

const bytesOf = (text) => new TextEncoder().encode(text);

/** Imports a JSON Web Key, given as JSON. Rejects if it is not a key for RS256. */
export const importKey = async (jwk) => crypto.subtle.importKey("jwk", JSON.parse(jwk), RS256, false, ["verify"]);

/** Resolves to whether this key has signed the message. The signature must be canonical base64url. */
export const isSigned = async (key, message, signature) => {
  const bytes = Uint8Array.from(atob(signature.replaceAll("-", "+").replaceAll("_", "/")), (byte) => byte.charCodeAt(0));
  if (base64url(bytes) !== signature) return false;
  return crypto.subtle.verify(RS256, key, bytes, bytesOf(message));
};

/** Resolves to the signature of the message with this secret, in base64url. */
export const sign = async (secret, message) => {
  const key = await crypto.subtle.importKey("raw", bytesOf(secret), HS256, false, ["sign"]);
  return base64url(new Uint8Array(await crypto.subtle.sign("HMAC", key, bytesOf(message))));
};

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
