/** The order and the groups of the list of friends. Pure. */

import type { Friend, Scene } from "../scene";

/** The part of `Intl.Collator` that is used. */
export interface Collator {
  compare(a: string, b: string): number;
}

export type Group = "together" | "online" | "offline";

export interface Placed {
  readonly id: string;
  readonly group: Group;
}

/**
 * The address of the person's own page, as friends see it. A friend on it is in the group "together". Null: no page is shared.
 */
type Here = string | null;

function groupOf({ presence: { page } }: Friend, here: Here): Group {
  if (page === null) return "offline";
  return here !== null && page.url === here ? "together" : "online";
}

/** Sorts friends by the time of their page, newest first, or by the time they left. If these are equal, names decide. */
export function arrange({ friends, own }: Pick<Scene, "friends" | "own">, collator: Collator): Placed[] {
  const here = own?.page?.url || null;
  const since = ({ presence: { at, lastSeenAt } }: Friend) => Date.parse(at ?? lastSeenAt ?? "") || 0;
  const name = ({ info }: Friend) => `${info.first_name} ${info.last_name}`;
  return Object.entries(friends)
    .map(([id, friend]) => ({ id, friend, group: groupOf(friend, here) }))
    .sort((a, b) => since(b.friend) - since(a.friend) || collator.compare(name(a.friend), name(b.friend)) || (a.id < b.id ? -1 : 1))
    .map(({ id, group }) => ({ id, group }));
}

/** Keeps the order from before for everybody who is still in the list. New friends come after them. */
export function frozen(before: readonly Placed[], after: readonly Placed[]): Placed[] {
  const left = new Map(after.map((placed) => [placed.id, placed]));
  const kept = before.filter(({ id }) => left.delete(id));
  return [...kept, ...left.values()];
}
