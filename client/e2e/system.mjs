// The system that the tests run against, and the commands that tests can send to its owner.

import { connect } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { env } from "node:process";

const needed = (name) => env[name] ?? (() => { throw new Error(`${name} is not set: \`cargo xtask test -E 'test(browsers::)'\` runs the stories`); })();

export const ORIGIN = needed("PAGENOW_ORIGIN");
export const ISSUER = needed("PAGENOW_ISSUER");
export const CLIENT_ID = needed("PAGENOW_CLIENT_ID");
/** The folder of the built client. */
export const CLIENT = needed("PAGENOW_CLIENT");
export const EXTENSION = join(CLIENT, "chromium");
/** The folder for pictures of screens. Without it, none are made. */
export const PICTURES = env.PAGENOW_PICTURES;

/** Kills the edge, and starts it again on the same storage. */
export async function restartEdge() {
  const socket = connect(Number(needed("PAGENOW_CONTROL")), "127.0.0.1");
  socket.write("restart edge\n");
  await once(socket, "data");
  socket.end();
}
