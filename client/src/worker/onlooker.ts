/** The worker's side of one view's port. */

import type { Asked, Told } from "../scene";
import type { Engine, View } from "./engine";

/** Represents a view, which may go away at any moment and come back. */
export class Onlooker implements View {
  /** Grows when the view comes or goes, so that a look that was begun before is ended. */
  #turn = 0;
  #here = false;
  #stop: (() => void) | undefined;

  constructor(
    private readonly engine: Engine,
    private readonly post: (told: Told) => void,
  ) {}

  /** Called when the view is there. Does nothing if it was there already. */
  look(again = false): void {
    if (this.#here) return;
    this.#here = true;
    this.#turn += 1;
    void this.#look(again, this.#turn);
  }

  /** Called when the view is gone. It gets no more messages. */
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
      // The engine could not read its storage. It tries again when the view says next that it is there.
      this.tell({ is: "broken" });
      if (turn === this.#turn) this.leave();
    }
  }
}
