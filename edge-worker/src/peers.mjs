// Sends the same message to many objects. JavaScript makes the calls, and passes many outcomes to WebAssembly at a time. If
// each outcome were passed by itself, with a timer for each call, that would cost as much as the calls.
//
// Deliberately absent: what the answers mean.

/** Longest time for which an outcome waits for others, so that they are passed on together, in milliseconds. */
const GATHER_MS = 100;

/**
 * Calls `peer(message)` on the object of each id. Line feeds separate the ids. All calls are made before the first answer is
 * handled, so no call waits for another.
 *
 * `take` gets the outcome of each call exactly once, and never synchronously. It gets lines: the place of the id in the list,
 * then, after a space, the answer, which may be empty. A line without a space means that the call failed, or took longer than
 * `msMax` and up to `GATHER_MS` more. The promise resolves after the last outcome.
 */
export const callPeers = (users, ids, message, msMax, take) =>
  new Promise((resolve, reject) => {
    const begun = Date.now();
    const names = ids.split("\n");
    // The places of calls without an outcome. Later outcomes of other calls are ignored.
    const waiting = new Set(names.keys());
    let outcomes = [];
    let timer;

    // Clears the timer if the work fails: a running timer would keep the object from hibernating.
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
