/** The hub's clock, and one ticker for every timer on the page. */

/** Keeps the difference between the hub's clock and this machine's. */
export class Clock {
  #offset = 0;
  #known = false;

  /**
   * Takes a time that the hub just sent. A frame that was held up makes the hub look slow, so of
   * several samples the one that is furthest ahead is the truest.
   * @param {string} iso
   * @param {boolean} anew forget earlier samples (a new connection: clocks may have been set)
   */
  sample(iso, anew = false) {
    const offset = Date.parse(iso) - Date.now();
    if (Number.isNaN(offset)) return;
    this.#offset = this.#known && !anew ? Math.max(this.#offset, offset) : offset;
    this.#known = true;
  }

  /** ms since the epoch, by the hub's clock. */
  now() {
    return Date.now() + this.#offset;
  }
}

/** Calls every listener once a second, from one timer, and only while there are any. */
export class Ticker {
  #listeners = new Set();
  #timer = 0;

  /** @param {() => void} listener @returns {() => void} stops it */
  add(listener) {
    this.#listeners.add(listener);
    if (!this.#timer) this.#timer = setInterval(() => this.#listeners.forEach((f) => f()), 1000);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size) return;
      clearInterval(this.#timer);
      this.#timer = 0;
    };
  }
}

export const clock = new Clock();
export const ticker = new Ticker();
