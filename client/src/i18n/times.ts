/** Times and ages in words. Moments are milliseconds since 1970. */

import type { Moment } from "../scene";

const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
] as const;

/** Keeps each format that was made. Making one takes longer than using it a hundred times. */
function once<Format>(make: (key: string) => Format): (key: string) => Format {
  const made = new Map<string, Format>();
  return (key) => {
    const format = made.get(key) ?? make(key);
    made.set(key, format);
    return format;
  };
}

const relative = once((tag) => new Intl.RelativeTimeFormat(tag, { numeric: "auto", style: "short" }));
const hours = once((tag) => new Intl.DateTimeFormat(tag, { hour: "numeric", minute: "2-digit" }));
const numbers = once((key) => {
  const [tag = "", unit = ""] = key.split(" ");
  return new Intl.NumberFormat(tag, { style: "unit", unit, unitDisplay: "short" });
});

/** "4 min", "2 hr", "3 days". Undefined for less than a minute, and for a moment in the future, which a wrong clock may give. */
export function age(since: Moment, now: Moment, tag: string): string | undefined {
  const [unit, ms] = unitOf(now - since) ?? [];
  if (unit === undefined || ms === undefined) return undefined;
  return numbers(`${tag} ${unit}`).format(Math.floor((now - since) / ms));
}

/** "2 hr. ago", "yesterday". */
export function ago(at: Moment, now: Moment, tag: string): string {
  const format = relative(tag);
  const [unit, ms] = unitOf(now - at) ?? [];
  if (unit === undefined || ms === undefined) return format.format(0, "second");
  return format.format(-Math.floor((now - at) / ms), unit);
}

/** "14:02" as the person's system writes it. */
export function clock(at: Moment, tag: string): string {
  return hours(tag).format(at);
}

function unitOf(passed: number) {
  return UNITS.find(([, ms]) => passed >= ms);
}
