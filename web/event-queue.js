/** Events on their way to a `for await`. Holds at most MOST: see `full`. */

const MOST = 1000;

export class EventQueue {
  #waiting = [];
  #wake = null;
  #over = null;

  /** Whether another event would be one too many: its session is then paused, until `drained`. */
  get full() {
    return this.#waiting.length >= MOST;
  }

  get drained() {
    return this.#waiting.length === 0;
  }

  put(event) {
    this.#waiting.push(event);
    this.#wake?.();
  }

  /** Nothing follows what waits. @param {Error|null} error thrown then; null: it just ends */
  end(error = null) {
    this.#over ??= { error };
    this.#wake?.();
  }

  /** As `end`, and what waits is not given any more. */
  stop(error = null) {
    this.#waiting = [];
    this.end(error);
  }

  /** @returns {Promise<object|null>} the next event; null at the end. For one reader at a time. */
  async next() {
    while (!this.#waiting.length) {
      if (this.#over?.error) throw this.#over.error;
      if (this.#over) return null;
      await new Promise((wake) => { this.#wake = wake; });
      this.#wake = null;
    }
    return this.#waiting.shift();
  }
}
