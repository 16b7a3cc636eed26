/** Text that came from others or from pages: which characters may be shown. The same rules as shared/src/text.rs. */

/** Control characters, line separators, and what changes the direction of the text around it. */
const FORMATTING = /[\p{Cc}\u2028\u2029\p{Bidi_Control}]/u;
/** What a font may draw as nothing, and what is no character. */
const IGNORABLE = /[\p{Default_Ignorable_Code_Point}\uFFF9-\uFFFB\p{Noncharacter_Code_Point}]/u;
const JOINER = /[\u200C\u200D]/u;
/** Ignorable characters that may change the shape of the one before: joiners, variation selectors, tags of flags. */
const SHAPING = /[\u200C\u200D\u180B-\u180D\u180F\uFE00-\uFE0F\u{E0100}-\u{E01EF}\u{E0020}-\u{E007F}]/u;
/** White space, and what every font draws as nothing. */
const EMPTY = /[\p{White_Space}\u2800\u{13441}\u{13442}\u{16FE4}\u{1D159}]/u;
const EMPTY_ENDS = new RegExp(`^(?:${EMPTY.source})+|(?:${EMPTY.source})+$`, "gu");

/** The text on one line, without what a reader cannot see or what changes how the text around it is shown. */
export function clean(text: string): string {
  let cleaned = "";
  let followsVisible = false;
  for (const c of text.toWellFormed()) {
    if (FORMATTING.test(c)) continue;
    if (IGNORABLE.test(c)) {
      if (!(followsVisible && SHAPING.test(c))) continue;
      // Of several joiners in a row, the first joins.
      followsVisible = !JOINER.test(c);
    } else {
      followsVisible = !EMPTY.test(c);
    }
    cleaned += c;
  }
  return cleaned.replace(EMPTY_ENDS, "");
}

/** At most that many characters, never a half of one. */
export function clamp(text: string, charactersMax: number): string {
  // No character is shorter than one unit.
  if (text.length <= charactersMax) return text;
  return Array.from(text).slice(0, charactersMax).join("");
}

/** An address that may be opened or fetched: http or https only. */
export function webAddress(text: string): string | undefined {
  const url = URL.parse?.(text) ?? (URL.canParse(text) ? new URL(text) : undefined);
  return url && (url.protocol === "https:" || url.protocol === "http:") ? url.href : undefined;
}
