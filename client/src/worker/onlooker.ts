/** One view's port, from the worker's side. */

import type { Asked, Told } from "../scene";
import type { Engine, View } from "./engine";

/** Looks on for a view that may go away at any moment, and come back. */
export class Onlooker implements View {
  /** Grows when the view comes or goes, so that what was begun before counts no more. */
  #turn = 0;
  #here = false;
  #stop: (() => void) | undefined;

  constructor(
    private readonly engine: Engine,
    private readonly post: (told: Told) => void,
  ) {}

  /** The view is there. Nothing happens if it was before. */
  look(again = false): void {
    if (this.#here) return;
    this.#here = true;
    this.#turn += 1;
    void this.#look(again, this.#turn);
  }

  /** The view is gone: it is told nothing more. */
  leave(): void {
    this.#here = false;
    this.#turn += 1;
    this.#stop?.();
    this.#stop = undefined;
  }

  ask(asked: Asked): void {
    void this.engine.ask(this, asked);
  }

  tell(told: Told): void {
    if (this.#here) this.post(told);
  }

  async #look(again: boolean, turn: number): Promise<void> {
    try {
      const stop = await this.engine.look(this, again);
      if (turn === this.#turn) this.#stop = stop;
      else stop();
    } catch {
      // What this browser keeps cannot be read.
      this.tell({ is: "broken" });
    }
  }
}
