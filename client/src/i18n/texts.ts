/** The texts of a language. */

import { en } from "./en";
import { ko } from "./ko";

export type Texts = typeof en;

/** For a BCP 47 tag, such as a browser gives. */
export function texts(tag: string): Texts {
  return /^ko\b/i.test(tag) ? ko : en;
}
