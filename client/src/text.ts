/** Rules for text that other people or pages wrote: which characters may be shown. They are the same as in shared/src/text.rs. */

/** Control characters, line separators, and characters that change the direction of the text around them. */
const FORMATTING = /[\p{Cc}\u2028\u2029\p{Bidi_Control}]/u;
/** Characters that a font may draw as nothing, and code points that are no characters. */
const IGNORABLE = /[\p{Default_Ignorable_Code_Point}\uFFF9-\uFFFB\p{Noncharacter_Code_Point}]/u;
const JOINER = /[\u200C\u200D]/u;
/** Ignorable characters that may change the shape of the character before them: joiners, variation selectors, tags of flags. */
const SHAPING = /[\u200C\u200D\u180B-\u180D\u180F\uFE00-\uFE0F\u{E0100}-\u{E01EF}\u{E0020}-\u{E007F}]/u;
/** White space, and characters that every font draws as nothing. */
const EMPTY = /[\p{White_Space}\u2800\u{13441}\u{13442}\u{16FE4}\u{1D159}]/u;
const EMPTY_ENDS = new RegExp(`^(?:${EMPTY.source})+|(?:${EMPTY.source})+$`, "gu");

/** The text on one line, without characters that cannot be seen or that change how the text around them is shown. */
export function clean(text: string): string {
  let cleaned = "";
  let followsVisible = false;
  for (const c of text.toWellFormed()) {
    if (FORMATTING.test(c)) continue;
    if (IGNORABLE.test(c)) {
      if (!(followsVisible && SHAPING.test(c))) continue;
        // Only the first of several joiners in a row is kept.
      followsVisible = !JOINER.test(c);
    } else {
      followsVisible = !EMPTY.test(c);
    }
    cleaned += c;
  }
  return cleaned.replace(EMPTY_ENDS, "");
}

/** The first `charactersMax` characters (code points). A surrogate pair is never cut. */
export function clamp(text: string, charactersMax: number): string {
  // Every character has at least one UTF-16 code unit.
  if (text.length <= charactersMax) return text;
  return Array.from(text).slice(0, charactersMax).join("");
}

/** The address, if it may be opened or fetched: only http and https. */
export function webAddress(text: string): string | undefined {
  const url = URL.parse?.(text) ?? (URL.canParse(text) ? new URL(text) : undefined);
  return url && (url.protocol === "https:" || url.protocol === "http:") ? url.href : undefined;
}
