// The same message to many objects. The calls are made on this side of WebAssembly, and what comes of them crosses over
// together: one by one, the crossings and a timer for each would cost as much as the calls.
//
// Deliberately absent: what the answers mean.

/** Longest time for which an outcome waits for others to go with it, in milliseconds. */
const GATHER_MS = 25;

/**
 * Calls `peer(message)` on the object of each of these ids, which line feeds separate; at most `atOnce` at a time, each
 * for `msMax` at most. Gives `take` what came of each, once: lines of the id's place, and after a space the answer if
 * there was one in time. Resolves after the last.
 */
export const callPeers = (users, ids, message, msMax, atOnce, take) =>
  new Promise((resolve, reject) => {
    const names = ids.split("\n");
    // Of the calls under way, by place; the earliest first.
    const deadlines = new Map();
    let started = 0;
    let outcomes = [];
    let timer;

    const hand = () => {
      if (outcomes.length === 0) return;
      const lines = outcomes.join("\n");
      outcomes = [];
      take(lines);
    };

    const end = (place, outcome) => {
      // Too late, and known as failed.
      if (!deadlines.delete(place)) return;
      outcomes.push(outcome);
      attempt(proceed);
    };

    const attempt = (work) => {
      try {
        work();
      } catch (error) {
        clearTimeout(timer);
        reject(error);
      }
    };

    const proceed = () => {
      while (started < names.length && deadlines.size < atOnce) {
        const place = started++;
        deadlines.set(place, Date.now() + msMax);
        users
          .getByName(names[place])
          .peer(message)
          .then(
            (answer) => end(place, `${place} ${answer}`),
            () => end(place, `${place}`),
          );
      }
      if (deadlines.size > 0) return;
      // A timer left behind would keep the object from hibernating.
      clearTimeout(timer);
      hand();
      resolve();
    };

    // One timer for all calls.
    const look = () => {
      timer = setTimeout(attempt, GATHER_MS, look);
      hand();
      const now = Date.now();
      for (const [place, deadline] of deadlines) {
        if (deadline > now) break;
        end(place, `${place}`);
      }
    };

    timer = setTimeout(attempt, GATHER_MS, look);
    attempt(proceed);
  });
