// Written by `cargo xtask codegen` from the servers' own types. Do not edit.

export const HEARTBEAT_REQUEST = "{\"action\":\"heartbeat\"}";
export const HEARTBEAT_RESPONSE = "{\"type\":\"heartbeat\"}";
export const SUBPROTOCOL = "pagenow";
export const BODY_BYTES_MAX = 65536;
export const DOMAIN_LIST_LEN_MAX = 1000;
export const FRAME_BYTES_MAX = 8192;
export const NAME_CHARS_MAX = 100;
export const PAGE_ITEMS_MAX = 100;
export const PROFILE_IMAGE_BYTES_MAX = 2000000;
export const PROFILE_TEXT_CHARS_MAX = 1000;
export const SHARES_READ_LEN_MAX = 1000;
export const SOCKETS_MAX = 10;
export const TITLE_CHARS_MAX = 300;
export const URL_CHARS_MAX = 2048;

/** Why the server closed a socket. */
export const CLOSE_CODES = {
  done: 1000,
  tooBig: 1009,
  badMessages: 4400,
  tokenExpired: 4401,
  accountGone: 4403,
  silent: 4408,
  tooManySockets: 4409,
  tooFast: 4429,
} as const;
