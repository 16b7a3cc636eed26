// Users' signatures, checked by the runtime's own cryptography: in WebAssembly each takes milliseconds.
//
// Deliberately absent: any choice. RS256 is what the provider signs with, and a token must not say how it is checked.

const RS256 = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

/** Makes a key of a JSON Web Key, in JSON. Rejects what is none for RS256. */
export const importKey = async (jwk) => crypto.subtle.importKey("jwk", JSON.parse(jwk), RS256, false, ["verify"]);

/** Resolves whether this key has signed that message. Rejects a signature that is not in base64url. */
export const isSigned = async (key, message, signature) => {
  const text = atob(signature.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  return crypto.subtle.verify(RS256, key, bytes, new TextEncoder().encode(message));
};
