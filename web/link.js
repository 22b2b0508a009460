/**
 * A WebSocket to the hub that comes back by itself.
 *
 * It knows connecting, backing off, close codes, dead peers and commands with a `ref`; of sessions
 * and jobs it knows nothing (see `jobcast.js`). Where no WebSocket ever gets through, as behind some
 * proxies, it goes over to Server-Sent Events (see `sse.js`), if there is an EventSource.
 *
 * Events: `status` after every change of `link.status`; `open` when a socket may be written to;
 * `frame` with the decoded object as `detail`.
 *
 * @typedef {"idle"|"connecting"|"online"|"waiting"|"closed"} LinkStatus
 *   online: the hub has spoken; waiting: a next try is planned at `retryAt`; closed: for good, until
 *   `start()` (see `code`)
 */

import { JobcastError } from "./problem.js";
import { SseSocket } from "./sse.js";

/** Upper bound of the first wait and of any wait, in seconds: full jitter lies between 0 and it. */
const BACKOFF_FIRST = 0.5;
const BACKOFF_CAP = 20;
/** The hub speaks every 20 s; a socket silent for longer than this is dead, in ms. */
const SILENCE = 45_000;
/** How long a new socket may take until the hub's first frame, in ms. */
const PATIENCE = 15_000;
/** Tries by WebSocket, none of which ever opened, after which Server-Sent Events are tried instead. */
const WEBSOCKET_TRIES = 3;
/** Commands that wait for an answer; past it a new one is refused, so a dead link cannot pile them up. */
const MAX_PENDING = 64;

export class Link extends EventTarget {
  /** @type {LinkStatus} */
  status = "idle";
  /** The last close code, 0 when none. */
  code = 0;
  /** When the next try is due, ms by `Date.now()`; null unless waiting. @type {number|null} */
  retryAt = null;

  #options;
  #socket = null;
  #tries = 0;
  #timer = 0;
  #watch = 0;
  #heard = 0;
  #comeBackAfter = null;
  #refused = false;
  /** Whether a WebSocket has ever opened: then it is the network that is away, not a proxy in the way. */
  #websocketWorks = false;
  #refs = 0;
  #pending = new Map();

  /**
   * @param {object} options
   * @param {() => string} options.url
   * @param {() => string|null} options.token
   * @param {() => Promise<string|null>} options.freshToken asked for when the hub refuses ours; null: give up
   * @param {typeof WebSocket} [options.WebSocket]
   * @param {typeof WebSocket} [options.fallback] used when no WebSocket gets through; null: never
   * @param {() => number} [options.random]
   * @throws {TypeError} there is no WebSocket here, and none was given
   */
  constructor(options) {
    super();
    const fallback = globalThis.EventSource ? SseSocket : null;
    this.#options = { WebSocket: globalThis.WebSocket, fallback, random: Math.random, ...options };
    if (!this.#options.WebSocket) {
      throw new TypeError("There is no WebSocket here: give one as the option WebSocket, such as that of the package ws");
    }
    this.wake = this.wake.bind(this);
  }

  /** Connects, also after `closed`. Does nothing while connected. */
  start() {
    if (this.status === "connecting" || this.status === "online") return;
    globalThis.addEventListener?.("online", this.wake);
    globalThis.document?.addEventListener("visibilitychange", this.wake);
    this.#connect();
  }

  /** Closes for good and fails what is pending. */
  stop() {
    globalThis.removeEventListener?.("online", this.wake);
    globalThis.document?.removeEventListener("visibilitychange", this.wake);
    this.#drop();
    this.#failPending(new JobcastError({ status: 0, title: "Disconnected" }));
    this.#set("idle");
  }

  /** Tries at once, whatever the plan was. */
  retryNow() {
    if (this.status === "waiting") this.#connect();
  }

  /** Whether a frame sent now may arrive. */
  get open() {
    return this.#socket?.readyState === 1;
  }

  /** Sends without waiting for an answer. @returns {boolean} whether it was written */
  send(frame) {
    if (!this.open) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** A `ref` that no command has had. */
  newRef() {
    this.#refs += 1;
    return String(this.#refs);
  }

  /**
   * Sends a command and waits for its answer. It must be safe to repeat: a command that is
   * unanswered when the socket is lost is sent again on the next one, until its time is over.
   * @param {object} frame with a `ref` of `newRef()`, or without one
   * @param {{timeout?: number, repeat?: boolean}} [options] timeout in ms
   * @returns {Promise<object>} the `ok`, `hello` or `pong`
   * @throws {JobcastError}
   */
  command(frame, { timeout = 15_000, repeat = true } = {}) {
    if (this.#pending.size >= MAX_PENDING) {
      return Promise.reject(new JobcastError({ status: 0, title: "Too many unanswered commands" }));
    }
    const { ref = this.newRef() } = frame;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(ref);
        reject(new JobcastError({ status: 0, title: "The server did not answer in time", code: "timeout" }));
      }, timeout);
      this.#pending.set(ref, { frame: { ...frame, ref }, resolve, reject, timer, repeat });
      if (!this.send({ ...frame, ref }) && !repeat) this.#settle(ref, null, lost());
    });
  }

  /** Gives up on the present socket and connects anew at once. */
  reset() {
    if (!this.#socket) return;
    this.#drop();
    this.#failUnrepeated();
    this.#tries = 0;
    this.#connect();
  }

  wake() {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.status === "waiting") this.retryNow();
    else if (this.status === "online") this.dispatchEvent(new Event("wake"));
  }

  #connect() {
    this.#drop();
    this.retryAt = null;
    this.#comeBackAfter = null;
    const token = this.#options.token();
    if (!token) {
      this.code = 4401;
      this.#refresh();
      return;
    }
    this.#set("connecting");
    const { WebSocket, fallback } = this.#options;
    // The tries go on by turns: one fallback, one WebSocket, for the proxy may have been a passing trouble.
    const direct = this.#websocketWorks || !fallback || this.#tries < WEBSOCKET_TRIES || this.#tries % 2 === 0;
    let socket;
    try {
      socket = new (direct ? WebSocket : fallback)(this.#options.url(), ["jobcast.v1", `bearer.${token}`]);
    } catch {
      this.#lost(1006);
      return;
    }
    this.#socket = socket;
    this.#heard = Date.now();
    socket.onopen = () => {
      this.#websocketWorks ||= direct;
      for (const { frame } of this.#pending.values()) this.send(frame);
      this.dispatchEvent(new Event("open"));
    };
    socket.onmessage = (event) => this.#received(event.data);
    socket.onclose = (event) => this.#lost(event.code);
    // The close that follows says all. It stays when the socket is dropped: that of the package ws
    // ends the process for an error that nobody listens to.
    socket.onerror = () => {};
    this.#watch = setInterval(() => {
      const limit = this.status === "online" ? SILENCE : PATIENCE;
      if (Date.now() - this.#heard > limit) this.#lost(1006);
    }, 5000);
  }

  #received(text) {
    this.#heard = Date.now();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame.type === "goodbye") {
      this.#comeBackAfter = frame.reconnect_after ?? 0;
      return;
    }
    if (frame.type !== "error" || frame.ref) {
      this.#tries = 0;
      this.#refused = false;
      this.code = 0;
      if (this.status !== "online") this.#set("online");
    }
    if (frame.ref && this.#pending.has(frame.ref)) {
      const failed = frame.type === "error";
      this.#settle(frame.ref, frame, failed ? new JobcastError(frame) : null);
    }
    this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  #lost(code) {
    this.#drop();
    this.code = code;
    this.#failUnrepeated();
    if (code === 4401) this.#refresh();
    else if (code >= 4400 && code <= 4499) this.#close();
    else this.#plan();
  }

  async #refresh() {
    this.#set("connecting");
    const before = this.#options.token();
    let token = null;
    try {
      token = await this.#options.freshToken();
    } catch {
      // The hub could not be asked: that says nothing about the token, so ask again later.
      if (this.status === "connecting") this.#plan();
      return;
    }
    if (this.status !== "connecting" || this.#socket) return;
    if (!token || (this.#refused && token === before)) {
      this.code = 4401;
      this.#close();
      return;
    }
    this.#refused = true;
    this.#plan();
  }

  #plan() {
    const bound = Math.min(BACKOFF_CAP, BACKOFF_FIRST * 2 ** Math.min(this.#tries, 10));
    this.#tries += 1;
    const wait = this.#comeBackAfter ?? this.#options.random() * bound;
    this.#comeBackAfter = null;
    this.retryAt = Date.now() + wait * 1000;
    this.#timer = setTimeout(() => this.#connect(), wait * 1000);
    this.#set("waiting");
  }

  #close() {
    this.retryAt = null;
    this.#failPending(new JobcastError({ status: 0, title: "Disconnected", code: this.code }));
    this.#set("closed");
  }

  /** Forgets the socket. A half-open one may take minutes to say that it is closed: nobody waits for it. */
  #drop() {
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.readyState < 2) socket.close();
  }

  #settle(ref, answer, error) {
    const { resolve, reject, timer } = this.#pending.get(ref);
    this.#pending.delete(ref);
    clearTimeout(timer);
    if (error) reject(error);
    else resolve(answer);
  }

  #failUnrepeated() {
    for (const [ref, { repeat }] of this.#pending) if (!repeat) this.#settle(ref, null, lost());
  }

  #failPending(error) {
    for (const ref of [...this.#pending.keys()]) this.#settle(ref, null, error);
  }

  #set(status) {
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }
}

function lost() {
  return new JobcastError({ status: 0, title: "The connection was lost", code: "lost" });
}
