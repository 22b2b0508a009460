/**
 * Jobcast for browsers and for Node: sessions kept up to date over one WebSocket.
 *
 *     const jobcast = new Jobcast({ base: "https://app.example.com/jobs/", token });
 *     for await (const event of jobcast.subscribe("chat:main")) console.log(event.type);
 *
 * or, to show a session as it is now:
 *
 *     jobcast.addEventListener("change", ({ detail }) => render(detail.sessionId, detail.state));
 *     jobcast.open("chat:main");
 *
 * Events, all of them CustomEvents:
 * - `change {sessionId, state, frame}`: a session looks different (see `reducer.js` for its state)
 * - `event {sessionId, event}`: what the hub sent of a session; each lifecycle event once, in order
 * - `connection`: `jobcast.connection` is another
 * - `token {token, expiresAt}`: a renewed token, to be stored by the page
 * - `refused {sessionId, code, error}`: a session cannot be followed (4403 not yours, 4410 deleted)
 *
 * Nothing is lost on the way: a session is resumed at its cursor after every break, a heartbeat
 * whose cursor differs from ours makes us ask again, and a job that we do not hold is fetched.
 */

import { Api } from "./api.js";
import { Clock } from "./clock.js";
import { EventQueue } from "./event-queue.js";
import { Link } from "./link.js";
import { JobcastError } from "./problem.js";
import { initialState, reduce } from "./reducer.js";
import { Tokens } from "./tokens.js";

export { Api, JobcastError };
export { TERMINAL, initialState, logOf, missingLines, reduce } from "./reducer.js";

/** How long the hub may take to answer `subscribe` before the socket is taken for dead, in ms. */
const HELLO_PATIENCE = 10_000;
/** A fresh look when the page comes to the front must be quicker than a person's doubt, in ms. */
const WAKE_PATIENCE = 4_000;
/** Before a job that could not be fetched is asked for again, in ms. */
const FETCH_AGAIN = 3_000;

/**
 * A followed session.
 * @typedef {object} Followed
 * @property {import("./reducer.js").State} state
 * @property {string|null} asked `ref` of the subscribe that is not answered yet
 * @property {EventQueue|null} queue of a `subscribe()`
 * @property {boolean} paused its reader is too slow: nothing is taken until it has caught up
 * @property {Map<string, boolean>} fetching jobs on their way; true: told of again meanwhile
 * @property {Set<number>} timers
 */

export class Jobcast extends EventTarget {
  /** @type {Api} */
  api;
  /** The hub's clock. @type {Clock} */
  clock;

  #base;
  #link;
  #tokens;
  /** @type {Map<string, Followed>} */
  #sessions = new Map();

  /**
   * @param {object} options
   * @param {string|URL} options.base address of the hub
   * @param {string} [options.token]
   * @param {string} [options.expiresAt] ISO 8601; without it the token is not renewed in advance
   * @param {(reason: number) => Promise<{token: string, expiresAt?: string}|null>} [options.getToken]
   *   asked when there is no token, or when the hub refuses ours (close code 4401) and it cannot be renewed
   * @param {typeof WebSocket} [options.WebSocket] for a Node without one of its own
   * @param {typeof WebSocket|null} [options.fallback] where no WebSocket gets through: Server-Sent
   *   Events where there is an EventSource; null: nothing
   * @param {typeof fetch} [options.fetch]
   * @param {Clock} [options.clock]
   * @param {() => number} [options.random]
   */
  constructor({ base, token = null, expiresAt = null, getToken = async () => null, clock = new Clock(), ...rest }) {
    super();
    this.clock = clock;
    this.api = new Api({ base, token: () => this.#tokens.token, fetch: rest.fetch });
    this.#base = this.api.base;
    this.#link = new Link({
      url: () => this.#address(),
      token: () => this.#tokens.token,
      freshToken: () => this.#tokens.fresh(),
      ...(rest.WebSocket && { WebSocket: rest.WebSocket }),
      ...(rest.fallback !== undefined && { fallback: rest.fallback }),
      ...(rest.random && { random: rest.random }),
    });
    this.#tokens = new Tokens({
      token, expiresAt, getToken,
      renew: () => this.api.renew(),
      now: () => clock.now(),
      taken: (given) => this.#tokenTaken(given),
    });
    this.#link.addEventListener("status", () => this.#connectionChanged());
    this.#link.addEventListener("open", () => this.#opened());
    this.#link.addEventListener("wake", () => this.#woke());
    this.#link.addEventListener("frame", (event) => this.#received(event.detail));
  }

  /** @returns {{status: import("./link.js").LinkStatus, retryAt: number|null, code: number}} */
  get connection() {
    const { status, retryAt, code } = this.#link;
    return { status, retryAt, code };
  }

  /** Follows a session; connects if need be. */
  open(sessionId) {
    if (!this.#sessions.has(sessionId)) this.#follow(sessionId, null, null);
    this.#link.start();
  }

  /** Stops following a session and forgets it. */
  close(sessionId) {
    this.#end(sessionId, null);
  }

  /** Ends everything. The object may not be used afterwards. */
  destroy() {
    this.#tokens.stop();
    for (const sessionId of [...this.#sessions.keys()]) this.#end(sessionId, null);
    this.#link.stop();
  }

  /**
   * Follows a session and gives what the hub sends of it: first a `hello`, then each lifecycle event
   * once, and progress and log lines as they come. `hello` with `resumed: false` is the whole picture.
   *
   * Leaving the loop ends it, and so do `close()` and `destroy()`. A reader that is 1,000 events behind
   * makes the session pause, and go on where it was once all of them have been read.
   * @param {string} sessionId one that is not followed yet
   * @param {{after?: string, signal?: AbortSignal}} [options] `after`: a cursor to go on from, which is
   *   the `id` of a lifecycle event, or the `cursor` of a hello
   * @returns {AsyncGenerator<object, void, void>}
   * @throws {JobcastError} the session or the credential is refused for good; or what `signal` says
   */
  async *subscribe(sessionId, { after = null, signal } = {}) {
    signal?.throwIfAborted();
    if (this.#sessions.has(sessionId)) throw new Error(`The session ${sessionId} is followed already`);
    const queue = new EventQueue();
    const abort = () => queue.stop(signal.reason);
    signal?.addEventListener("abort", abort);
    const session = this.#follow(sessionId, after, queue);
    this.#link.start();
    try {
      for (;;) {
        const event = await queue.next();
        if (event === null) return;
        yield event;
        if (session.paused && queue.drained) this.#goOn(sessionId, session);
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      if (this.#sessions.get(sessionId) === session) this.close(sessionId);
    }
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

  // Sessions

  /** @returns {Followed} */
  #follow(sessionId, after, queue) {
    const state = { ...initialState(), cursor: after };
    const session = { state, asked: null, queue, paused: false, fetching: new Map(), timers: new Set() };
    this.#sessions.set(sessionId, session);
    if (this.#link.open) this.#subscribe(sessionId);
    return session;
  }

  #end(sessionId, error) {
    const session = this.#sessions.get(sessionId);
    if (!session) return;
    stopAll(session.timers);
    this.#sessions.delete(sessionId);
    this.#link.send({ type: "unsubscribe", session_id: sessionId });
    if (error) session.queue?.end(error);
    else session.queue?.stop();
  }

  #pause(sessionId, session) {
    session.paused = true;
    this.#link.send({ type: "unsubscribe", session_id: sessionId });
  }

  #goOn(sessionId, session) {
    session.paused = false;
    if (this.#link.open) this.#subscribe(sessionId);
  }

  #opened() {
    for (const [sessionId, session] of this.#sessions) {
      session.asked = null;
      this.#subscribe(sessionId);
      this.#fetchNeeded(sessionId);
    }
  }

  /** Timers sleep in hidden pages and sockets die unseen: look anew, and soon. */
  #woke() {
    this.#tokens.renewIfDue();
    for (const sessionId of this.#sessions.keys()) this.#subscribe(sessionId, WAKE_PATIENCE);
  }

  #connectionChanged() {
    const { status, code } = this.#link;
    if (status === "closed") {
      for (const { queue } of this.#sessions.values()) {
        queue?.end(new JobcastError({ code, title: code === 4401 ? "You are signed out" : `The hub refused the connection (${code})` }));
      }
    }
    this.#emit("connection");
  }

  async #subscribe(sessionId, patience = HELLO_PATIENCE) {
    const session = this.#sessions.get(sessionId);
    if (!session || session.paused || session.asked !== null) return;
    const ref = this.#link.newRef();
    session.asked = ref;
    const frame = { type: "subscribe", session_id: sessionId, ref };
    if (session.state.cursor !== null) frame.after = session.state.cursor;
    try {
      await this.#link.command(frame, { timeout: patience, repeat: false });
    } catch (error) {
      if (error.code === "timeout") this.#link.reset();
      else if (error.code !== "lost") this.#refusedBy(sessionId, error);
    } finally {
      if (session.asked === ref) session.asked = null;
    }
  }

  #refusedBy(sessionId, error) {
    const session = this.#sessions.get(sessionId);
    if (!session) return;
    const code = Number(error.code) || 0;
    if (code >= 4400 && code <= 4499) {
      this.#end(sessionId, error);
      this.#emit("refused", { sessionId, code, error });
      return;
    }
    // Codes of 4000–4099 end a subscription only for now.
    later(session.timers, 1000 * (1 + Math.random()), () => this.#subscribe(sessionId));
  }

  // What the hub sends

  #received(frame) {
    if (frame.type === "heartbeat") {
      this.#heartbeat(frame);
    } else if (frame.type === "error") {
      if (frame.session_id && !frame.ref) this.#refusedBy(frame.session_id, new JobcastError(frame));
    } else if (frame.session_id) {
      if (frame.type === "hello") this.clock.sample(frame.time, true);
      this.#told(frame.session_id, frame);
    }
  }

  #told(sessionId, frame) {
    const session = this.#sessions.get(sessionId);
    if (!session || session.paused) return;
    if (session.asked !== null) {
      // Until the answer is there, what comes will come again after it, or is in its snapshot.
      if (frame.type === "hello" && String(frame.ref) === session.asked) session.asked = null;
      else if (frame.type === "hello" || frame.id) return;
    }
    this.#apply(sessionId, frame);
    this.#emit("event", { sessionId, event: frame });
    const { queue } = session;
    // While an answer is awaited only what may be lost can come before it: that is dropped at the bound.
    if (!queue || (queue.full && frame.type !== "hello")) return;
    queue.put(frame);
    if (queue.full && session.asked === null) this.#pause(sessionId, session);
  }

  #heartbeat({ cursors, time }) {
    this.clock.sample(time);
    for (const [sessionId, cursor] of Object.entries(cursors ?? {})) {
      const session = this.#sessions.get(sessionId);
      if (session && session.state.cursor !== cursor) this.#subscribe(sessionId);
    }
    this.#tokens.renewIfDue();
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

  /** The hub closes with 4401 what it does not take: that is heard there. */
  #tokenTaken({ token, expiresAt }) {
    this.#emit("token", { token, expiresAt });
    if (this.#link.open) this.#link.command({ type: "auth", token }).catch(() => {});
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
