// Signatures by the runtime's own cryptography: in WebAssembly, to check one takes milliseconds, and all that it needs
// would be a fifth of the worker.
//
// Deliberately absent: any choice. RS256 is what the provider signs with, and a token must not say how it is checked.
// HS256 is how the edge signs for the core.

const RS256 = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
const HS256 = { name: "HMAC", hash: "SHA-256" };

const bytesOf = (text) => new TextEncoder().encode(text);

/** Makes a key of a JSON Web Key, in JSON. Rejects what is none for RS256. */
export const importKey = async (jwk) => crypto.subtle.importKey("jwk", JSON.parse(jwk), RS256, false, ["verify"]);

/** Resolves whether this key has signed that message. A signature is in base64url, spelt in the one way there is. */
export const isSigned = async (key, message, signature) => {
  const bytes = Uint8Array.from(atob(signature.replaceAll("-", "+").replaceAll("_", "/")), (byte) => byte.charCodeAt(0));
  if (base64url(bytes) !== signature) return false;
  return crypto.subtle.verify(RS256, key, bytes, bytesOf(message));
};

/** Resolves to the signature of this message with that secret, in base64url. */
export const sign = async (secret, message) => {
  const key = await crypto.subtle.importKey("raw", bytesOf(secret), HS256, false, ["sign"]);
  return base64url(new Uint8Array(await crypto.subtle.sign("HMAC", key, bytesOf(message))));
};

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
