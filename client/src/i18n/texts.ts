/** The texts of a language. */

import { en } from "./en";
import { ko } from "./ko";

export type Texts = typeof en;

/** The texts for a BCP 47 language tag. Languages other than Korean get English. */
export function texts(tag: string): Texts {
  return /^ko\b/i.test(tag) ? ko : en;
}
