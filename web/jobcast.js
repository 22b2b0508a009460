/**
 * Jobcast in the browser: sessions kept up to date over one WebSocket.
 *
 *     const jobcast = new Jobcast({ base: document.baseURI, token, expiresAt });
 *     jobcast.addEventListener("change", ({ detail }) => render(detail.sessionId, detail.state));
 *     jobcast.open("chat:main");
 *
 * Events, all of them CustomEvents:
 * - `change {sessionId, state, frame}`: a session looks different (see `reducer.js` for its state)
 * - `connection`: `jobcast.connection` is another
 * - `token {token, expiresAt}`: a renewed token, to be stored by the page
 * - `refused {sessionId, code, error}`: a session cannot be followed (4403 not yours, 4410 deleted)
 *
 * Nothing is lost on the way: a session is resumed at its cursor after every break, a heartbeat
 * whose cursor differs from ours makes us ask again, and a job that we do not hold is fetched.
 */

import { Api } from "./api.js";
import { Clock } from "./clock.js";
import { Link } from "./link.js";
import { JobcastError } from "./problem.js";
import { initialState, reduce } from "./reducer.js";

/** How long the hub may take to answer `subscribe` before the socket is taken for dead, in ms. */
const HELLO_PATIENCE = 10_000;
/** A fresh look when the page comes to the front must be quicker than a person's doubt, in ms. */
const WAKE_PATIENCE = 4_000;
/** Before a job that could not be fetched is asked for again, in ms. */
const FETCH_AGAIN = 3_000;

export class Jobcast extends EventTarget {
  /** @type {Api} */
  api;
  /** The hub's clock. @type {Clock} */
  clock;

  #base;
  #link;
  #token;
  #expiresAt;
  #getToken;
  /** Whether renewing may still bring more time. */
  #lasting = true;
  #renewTimer = 0;
  #renewing = null;
  /** @type {Map<string, {state: object, asked: boolean, fetching: Map<string, boolean>, timers: Set<number>}>} */
  #sessions = new Map();

  /**
   * @param {object} options
   * @param {string|URL} options.base address of the hub, with a slash at its end
   * @param {string} options.token
   * @param {string} [options.expiresAt] ISO 8601; without it the token is not renewed in advance
   * @param {(reason: number) => Promise<{token: string, expiresAt?: string}|null>} [options.getToken]
   *   asked when the hub refuses ours (close code 4401) and it cannot be renewed
   * @param {typeof WebSocket} [options.WebSocket]
   * @param {typeof WebSocket|null} [options.fallback] where no WebSocket gets through: Server-Sent Events
   * @param {typeof fetch} [options.fetch]
   * @param {Clock} [options.clock]
   * @param {() => number} [options.random]
   */
  constructor({ base, token, expiresAt = null, getToken = async () => null, clock = new Clock(), ...rest }) {
    super();
    this.#base = base;
    this.#token = token;
    this.#expiresAt = expiresAt;
    this.#getToken = getToken;
    this.clock = clock;
    this.api = new Api({ base, token: () => this.#token, fetch: rest.fetch });
    this.#link = new Link({
      url: () => this.#address(),
      token: () => this.#token,
      freshToken: () => this.#freshToken(),
      ...(rest.WebSocket && { WebSocket: rest.WebSocket }),
      ...(rest.fallback !== undefined && { fallback: rest.fallback }),
      ...(rest.random && { random: rest.random }),
    });
    this.#link.addEventListener("status", () => this.#emit("connection"));
    this.#link.addEventListener("open", () => this.#opened());
    this.#link.addEventListener("wake", () => this.#woke());
    this.#link.addEventListener("frame", (event) => this.#received(event.detail));
    this.#planRenewal();
  }

  /** @returns {{status: import("./link.js").LinkStatus, retryAt: number|null, code: number}} */
  get connection() {
    const { status, retryAt, code } = this.#link;
    return { status, retryAt, code };
  }

  /** Follows a session; connects if need be. */
  open(sessionId) {
    if (!this.#sessions.has(sessionId)) {
      this.#sessions.set(sessionId, { state: initialState(), asked: false, fetching: new Map(), timers: new Set() });
      if (this.#link.open) this.#subscribe(sessionId);
    }
    this.#link.start();
  }

  /** Stops following a session and forgets it. */
  close(sessionId) {
    const session = this.#sessions.get(sessionId);
    if (!session) return;
    stopAll(session.timers);
    this.#sessions.delete(sessionId);
    this.#link.send({ type: "unsubscribe", session_id: sessionId });
  }

  /** Ends everything. The object may not be used afterwards. */
  destroy() {
    clearTimeout(this.#renewTimer);
    for (const { timers } of this.#sessions.values()) stopAll(timers);
    this.#sessions.clear();
    this.#link.stop();
  }

  /** The state of a followed session. @returns {import("./reducer.js").State|null} */
  state(sessionId) {
    return this.#sessions.get(sessionId)?.state ?? null;
  }

  /** Connects at once instead of at the planned time. */
  retryNow() {
    this.#link.retryNow();
  }

  /** @throws {JobcastError} the job cannot be cancelled, or the hub did not answer */
  cancel(jobId) {
    return this.#link.command({ type: "cancel", job_id: jobId });
  }

  /** Answers a job's question. @throws {JobcastError} it has been answered, or another is asked now */
  input(jobId, inputId, value) {
    return this.#link.command({ type: "input", job_id: jobId, input_id: inputId, value });
  }

  /** Puts what was fetched over HTTP into a session's state (`fetched.…`, see `reducer.js`). */
  put(sessionId, frame) {
    this.#apply(sessionId, frame);
  }

  /** Fetches a job whole and puts it into its session's state. */
  async refresh(sessionId, jobId) {
    const job = await this.api.job(jobId);
    this.#apply(sessionId, { type: "fetched.job", job });
    return job;
  }

  #address() {
    const url = new URL("ws", this.#base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }

  #opened() {
    for (const [sessionId, session] of this.#sessions) {
      session.asked = false;
      this.#subscribe(sessionId);
      this.#fetchNeeded(sessionId);
    }
  }

  /** Timers sleep in hidden pages and sockets die unseen: look anew, and soon. */
  #woke() {
    if (this.#renewalDue()) this.#renew();
    for (const sessionId of this.#sessions.keys()) this.#subscribe(sessionId, WAKE_PATIENCE);
  }

  async #subscribe(sessionId, patience = HELLO_PATIENCE) {
    const session = this.#sessions.get(sessionId);
    if (!session || session.asked) return;
    session.asked = true;
    const frame = { type: "subscribe", session_id: sessionId };
    if (session.state.cursor !== null) frame.after = session.state.cursor;
    try {
      await this.#link.command(frame, { timeout: patience, repeat: false });
    } catch (error) {
      if (error.code === "timeout") this.#link.reset();
      else if (error.code !== "lost") this.#refusedBy(sessionId, error);
    } finally {
      session.asked = false;
    }
  }

  #refusedBy(sessionId, error) {
    const session = this.#sessions.get(sessionId);
    if (!session) return;
    const code = Number(error.code) || 0;
    if (code >= 4400 && code <= 4499) {
      this.close(sessionId);
      this.#emit("refused", { sessionId, code, error });
      return;
    }
    // Codes of 4000–4099 end a subscription only for now.
    later(session.timers, 1000 * (1 + Math.random()), () => this.#subscribe(sessionId));
  }

  #received(frame) {
    if (frame.type === "heartbeat") {
      this.#heartbeat(frame);
    } else if (frame.type === "error") {
      if (frame.session_id && !frame.ref) this.#refusedBy(frame.session_id, new JobcastError(frame));
    } else if (frame.session_id) {
      if (frame.type === "hello") this.clock.sample(frame.time, true);
      this.#apply(frame.session_id, frame);
    }
  }

  #heartbeat({ cursors, time }) {
    this.clock.sample(time);
    for (const [sessionId, cursor] of Object.entries(cursors ?? {})) {
      const session = this.#sessions.get(sessionId);
      if (session && session.state.cursor !== cursor) this.#subscribe(sessionId);
    }
    if (this.#renewalDue()) this.#renew();
  }

  #apply(sessionId, frame) {
    const session = this.#sessions.get(sessionId);
    if (!session) return;
    const { state, need, changed } = reduce(session.state, frame);
    session.state = state;
    for (const jobId of need) {
      // A job told of while it is being fetched may be newer than the answer: fetch it once more.
      if (session.fetching.has(jobId)) session.fetching.set(jobId, true);
      else this.#fetch(sessionId, jobId);
    }
    if (changed) this.#emit("change", { sessionId, state, frame });
  }

  async #fetch(sessionId, jobId) {
    const session = this.#sessions.get(sessionId);
    if (!session) return;
    session.fetching.set(jobId, false);
    try {
      const job = await this.api.job(jobId);
      const again = session.fetching.get(jobId);
      session.fetching.delete(jobId);
      this.#apply(sessionId, { type: "fetched.job", job });
      if (again) this.#fetch(sessionId, jobId);
    } catch (error) {
      if (!error.passing) {
        session.fetching.delete(jobId);
        return;
      }
      later(session.timers, FETCH_AGAIN, () => this.#fetch(sessionId, jobId));
    }
  }

  /** What could not be fetched while the hub was away. */
  #fetchNeeded(sessionId) {
    const session = this.#sessions.get(sessionId);
    stopAll(session.timers);
    for (const jobId of [...session.fetching.keys()]) this.#fetch(sessionId, jobId);
  }

  // Tokens

  #lifeLeft() {
    return this.#expiresAt ? Date.parse(this.#expiresAt) - this.clock.now() : Infinity;
  }

  #renewalDue() {
    return this.#lasting && this.#lifeLeft() < 120_000;
  }

  #planRenewal() {
    clearTimeout(this.#renewTimer);
    const left = this.#lifeLeft();
    if (!this.#lasting || !Number.isFinite(left)) return;
    // A fifth before the end leaves room for a hub that is away; a timer holds at most 24 days.
    const wait = Math.max(5_000, Math.min(left - Math.max(60_000, left / 5), 2 ** 31 - 1));
    this.#renewTimer = setTimeout(() => this.#renew(), wait);
  }

  /** One renewal at a time. Failing is no harm yet: the next heartbeat or 4401 tries again. */
  #renew() {
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = null;
      this.#planRenewal();
    });
    return this.#renewing;
  }

  async #renewOnce() {
    try {
      const { token, expires_at } = await this.api.renew();
      // The hub renews up to some hours after sign-in: what lives no longer than before is the last.
      this.#lasting = Date.parse(expires_at) > Date.parse(this.#expiresAt) + 1000;
      this.#take({ token, expiresAt: expires_at });
      if (this.#link.open) await this.#link.command({ type: "auth", token });
    } catch (error) {
      if (!(error instanceof JobcastError)) throw error;
      this.#lasting &&= error.passing;
    }
  }

  #take({ token, expiresAt = null }) {
    this.#token = token;
    this.#expiresAt = expiresAt;
    this.#emit("token", { token, expiresAt });
  }

  /** For a refused token: renewed if it still can be, else the page's. Throws when the hub is away. */
  async #freshToken() {
    if (this.#token) {
      try {
        const { token, expires_at } = await this.api.renew();
        this.#take({ token, expiresAt: expires_at });
        this.#planRenewal();
        return token;
      } catch (error) {
        if (error.passing) throw error;
      }
    }
    const given = await this.#getToken(4401);
    if (!given) return null;
    this.#lasting = true;
    this.#take(given);
    this.#planRenewal();
    return given.token;
  }

  #emit(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function later(timers, wait, call) {
  const timer = setTimeout(() => {
    timers.delete(timer);
    call();
  }, wait);
  timers.add(timer);
}

function stopAll(timers) {
  timers.forEach(clearTimeout);
  timers.clear();
}
