/** Names of people. */

import { clean } from "../text";

const HANGUL = /\p{Script=Hangul}/u;

/** The full name: given name first. Korean names are written family name first, without a space. */
export function plainName(first: string, last: string): string {
  const [given, family] = [clean(first), clean(last)];
  return HANGUL.test(given + family) ? family + given : `${given} ${family}`.trim();
}

/** One or two letters that stand for a person without a picture. */
export function initials(first: string, last: string): string {
  const [given, family] = [clean(first), clean(last)];
  const letter = (text: string) => [...new Intl.Segmenter().segment(text)][0]?.segment ?? "";
  if (HANGUL.test(given)) return [...given].slice(0, 2).join("");
  return (letter(given) + letter(family)).toLocaleUpperCase();
}
