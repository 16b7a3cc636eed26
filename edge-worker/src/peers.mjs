// The same message to many objects. The calls are made on this side of WebAssembly, and what comes of them crosses over
// together: one by one, the crossings and a timer for each would cost as much as the calls.
//
// Deliberately absent: what the answers mean.

/** Longest time for which an outcome waits for others to go with it, in milliseconds. */
const GATHER_MS = 100;

/**
 * Calls `peer(message)` on the object of each of these ids, which line feeds separate. All calls are made before any
 * answer is looked at: no friend waits for another's. Gives `take` what came of each, once and never at once: lines of
 * the id's place, and after a space the answer, where it was no failure and took no longer than `msMax` and
 * `GATHER_MS`; nothing is an answer, too. Resolves after the last.
 */
export const callPeers = (users, ids, message, msMax, take) =>
  new Promise((resolve, reject) => {
    const begun = Date.now();
    const names = ids.split("\n");
    // By place; what comes of others is not heard.
    const waiting = new Set(names.keys());
    let outcomes = [];
    let timer;

    // A timer left behind would keep the object from hibernating.
    const attempt = (work) => {
      try {
        work();
      } catch (error) {
        clearTimeout(timer);
        waiting.clear();
        reject(error);
      }
    };

    const hand = () => {
      if (outcomes.length > 0) take(outcomes.join("\n"));
      outcomes = [];
    };

    const finish = () => {
      clearTimeout(timer);
      for (const place of waiting) outcomes.push(`${place}`);
      waiting.clear();
      hand();
      resolve();
    };

    const end = (place, outcome) => {
      if (!waiting.delete(place)) return;
      outcomes.push(outcome);
      if (waiting.size === 0) attempt(finish);
    };

    const look = () => {
      if (Date.now() - begun >= msMax) return finish();
      hand();
      timer = setTimeout(attempt, GATHER_MS, look);
    };

    timer = setTimeout(attempt, GATHER_MS, look);
    try {
      names.forEach((name, place) => {
        users
          .getByName(name)
          .peer(message)
          .then(
            (answer = "") => end(place, `${place} ${answer}`),
            () => end(place, `${place}`),
          );
      });
    } catch {
      queueMicrotask(() => attempt(finish));
    }
  });
