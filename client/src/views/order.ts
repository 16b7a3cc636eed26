/** In which groups and order friends stand. Pure. */

import type { Friend, Scene } from "../scene";

/** As `Intl.Collator` compares. */
export interface Collator {
  compare(a: string, b: string): number;
}

export type Group = "together" | "online" | "offline";

export interface Placed {
  readonly id: string;
  readonly group: Group;
}

/** Which page a friend must be on to be here with the person. Null: no page is shared. */
type Here = string | null;

function groupOf({ presence: { page } }: Friend, here: Here): Group {
  if (page === null) return "offline";
  return here !== null && page.url === here ? "together" : "online";
}

/** Newest pages first; friends who are offline by when they left. Names decide between equals. */
export function arrange({ friends, own }: Pick<Scene, "friends" | "own">, collator: Collator): Placed[] {
  const here = own?.page?.url || null;
  const since = ({ presence: { at, lastSeenAt } }: Friend) => Date.parse(at ?? lastSeenAt ?? "") || 0;
  const name = ({ info }: Friend) => `${info.first_name} ${info.last_name}`;
  return Object.entries(friends)
    .map(([id, friend]) => ({ id, friend, group: groupOf(friend, here) }))
    .sort((a, b) => since(b.friend) - since(a.friend) || collator.compare(name(a.friend), name(b.friend)) || (a.id < b.id ? -1 : 1))
    .map(({ id, group }) => ({ id, group }));
}

/** The same places as before for everybody who still has one; who is new comes after them. */
export function frozen(before: readonly Placed[], after: readonly Placed[]): Placed[] {
  const left = new Map(after.map((placed) => [placed.id, placed]));
  const kept = before.filter(({ id }) => left.delete(id));
  return [...kept, ...left.values()];
}
