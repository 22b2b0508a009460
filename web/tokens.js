/** A session token over its life: renewed before it ends, and asked for anew once it is refused. */

/** A token with less than this left is renewed when there is an occasion, in ms. */
const DUE = 120_000;

export class Tokens {
  /** The present one; null for none yet. @type {string|null} */
  token;

  #expiresAt;
  #options;
  /** Whether renewing may still bring more time. */
  #lasting = true;
  #timer = 0;
  #renewing = null;

  /**
   * @param {object} options
   * @param {string|null} options.token
   * @param {string|null} options.expiresAt ISO 8601; null: not renewed in advance
   * @param {() => Promise<{token: string, expires_at: string}>} options.renew asks the hub, with `token`
   * @param {(reason: number) => Promise<{token: string, expiresAt?: string|null}|null>} options.getToken
   * @param {(given: {token: string, expiresAt: string|null}) => void} options.taken told of every other token
   * @param {() => number} options.now ms since the epoch, by the hub's clock
   */
  constructor({ token, expiresAt, ...options }) {
    this.token = token;
    this.#expiresAt = expiresAt;
    this.#options = options;
    this.#plan();
  }

  /** Renews it if it is about to end. Failing is no harm yet: the next occasion or 4401 tries again. */
  renewIfDue() {
    if (this.#lasting && this.#left() < DUE) this.#renew();
  }

  /**
   * Another instead of one that was refused: renewed if it still can be, else its holder's.
   * @returns {Promise<string|null>} null: there is none
   * @throws {import("./problem.js").JobcastError} the hub is away
   */
  async fresh() {
    if (this.token) {
      try {
        const { token, expires_at } = await this.#options.renew();
        this.#take({ token, expiresAt: expires_at });
        return token;
      } catch (error) {
        if (error.passing) throw error;
      }
    }
    const given = await this.#options.getToken(4401);
    if (!given) return null;
    this.#lasting = true;
    this.#take(given);
    return given.token;
  }

  stop() {
    this.#lasting = false;
    clearTimeout(this.#timer);
  }

  #left() {
    return this.#expiresAt ? Date.parse(this.#expiresAt) - this.#options.now() : Infinity;
  }

  #plan() {
    clearTimeout(this.#timer);
    const left = this.#left();
    if (!this.#lasting || !Number.isFinite(left)) return;
    // A fifth before the end leaves room for a hub that is away; a timer holds at most 24 days.
    const wait = Math.max(5_000, Math.min(left - Math.max(60_000, left / 5), 2 ** 31 - 1));
    this.#timer = setTimeout(() => this.#renew(), wait);
  }

  /** One renewal at a time. */
  #renew() {
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = null;
      this.#plan();
    });
  }

  async #renewOnce() {
    try {
      const { token, expires_at } = await this.#options.renew();
      // The hub renews up to some hours after sign-in: what lives no longer than before is the last.
      const longer = Date.parse(expires_at) > Date.parse(this.#expiresAt) + 1000;
      this.#lasting &&= longer;
      this.#take({ token, expiresAt: expires_at });
    } catch (error) {
      this.#lasting &&= error.passing === true;
    }
  }

  #take({ token, expiresAt = null }) {
    this.token = token;
    this.#expiresAt = expiresAt;
    this.#options.taken({ token, expiresAt });
    this.#plan();
  }
}
