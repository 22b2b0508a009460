/**
 * The REST calls of a session's people and programs.
 *
 * Every call throws a `JobcastError` whose `message` can be shown to a person.
 */

import { JobcastError, problemOf } from "./problem.js";
import { TERMINAL } from "./reducer.js";

/** How long an answer may take, in ms. */
const PATIENCE = 20_000;
/** One look at a job waits in the hub for so many seconds; the answer may take longer. */
const WAIT = 50;
/** How often a job that asks a person is looked at, in ms: the hub answers for it at once. */
const QUESTION = 2_000;
/** Upper bound of the first wait between two tries, and of any, in ms: full jitter lies between 0 and it. */
const BACKOFF_FIRST = 250;
const BACKOFF_CAP = 20_000;
/** How often a job is sent whose answer was lost: long enough for a hub to be started again. */
const TRIES = 8;

export class Api {
  /** The hub's address, with a slash at its end. */
  base;

  #token;
  #fetch;

  /**
   * @param {object} options
   * @param {string|URL} options.base address of the hub
   * @param {() => string|null} options.token
   * @param {typeof fetch} [options.fetch]
   */
  constructor({ base, token, fetch = globalThis.fetch }) {
    this.base = withSlash(base);
    this.#token = token;
    this.#fetch = fetch.bind(globalThis);
  }

  /**
   * Queues a job. Safe to repeat with the same `idempotencyKey`, and repeated when its answer is lost.
   * @param {object} job `{task, session_id, params?, …}`, see `POST /jobs`
   * @returns {Promise<{job_id: string, status: string, job: object}>}
   */
  async enqueue(job, { idempotencyKey = randomKey() } = {}) {
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#call("POST", "jobs", { body: job, headers: { "Idempotency-Key": idempotencyKey } });
      } catch (error) {
        if (!error.passing || failures === TRIES) throw error;
        await pause(backoff(failures));
      }
    }
  }

  job(id) {
    return this.#call("GET", `jobs/${enc(id)}`);
  }

  /**
   * A job once it has ended, through outages of the hub (but for the first look).
   * @param {string} id
   * @param {{signal?: AbortSignal}} [options] stops waiting, never the job
   */
  async wait(id, { signal } = {}) {
    let job = await this.job(id);
    for (let failures = 0; !TERMINAL.has(job.status);) {
      if (job.status === "input_required") await pause(QUESTION, signal);
      try {
        job = await this.#call("GET", `jobs/${enc(id)}`, { query: { wait: WAIT }, patience: WAIT * 1000 + PATIENCE, signal });
        failures = 0;
      } catch (error) {
        signal?.throwIfAborted();
        if (!error.passing) throw error;
        failures += 1;
        await pause(backoff(failures), signal);
      }
    }
    return job;
  }

  /** A page of a session's jobs, newest first. @returns {Promise<{jobs: object[], more: string|null}>} */
  async jobs(sessionId, { cursor, limit = 50 } = {}) {
    const { jobs, more = null } = await this.#call("GET", "jobs", { query: { session_id: sessionId, cursor, limit } });
    return { jobs, more };
  }

  cancel(id) {
    return this.#call("POST", `jobs/${enc(id)}/cancel`, { body: {} });
  }

  answer(id, { input_id, value }) {
    return this.#call("POST", `jobs/${enc(id)}/input`, { body: { input_id, value } });
  }

  /** A new job that does the same. @returns {Promise<{job_id: string, job: object}>} */
  retry(id) {
    return this.#call("POST", `jobs/${enc(id)}/retry`, { body: {} });
  }

  /**
   * Log lines after a number.
   * @returns {Promise<{line: number, stream: string, text: string}[]>}
   */
  async logs(id, { after = 0, limit = 1000 } = {}) {
    const { lines } = await this.#call("GET", `jobs/${enc(id)}/logs`, { query: { after, limit } });
    return lines;
  }

  /** All of a log that is kept, as text. @returns {Promise<Blob>} */
  logText(id) {
    const headers = { Accept: "text/plain" };
    return this.#call("GET", `jobs/${enc(id)}/logs`, { headers, patience: 6 * PATIENCE, read: (response) => response.blob() });
  }

  /** Messages before a cursor, oldest first. @returns {Promise<{messages: object[], more: string|null}>} */
  async messages(sessionId, { before, limit = 50 } = {}) {
    const path = `sessions/${enc(sessionId)}/messages`;
    const { messages, more = null } = await this.#call("GET", path, { query: { before, limit } });
    return { messages, more };
  }

  /** The person speaks. Safe to repeat with the same `message_id`. */
  say(sessionId, { text, message_id }) {
    return this.#call("POST", `sessions/${enc(sessionId)}/messages`, { body: { text, message_id } });
  }

  /** @returns {Promise<{token: string, expires_at: string, sessions?: string[]}>} */
  exchange(code) {
    return this.#call("POST", "tokens", { body: { code }, token: null });
  }

  renew() {
    return this.#call("POST", "tokens", { body: {} });
  }

  /** Sessions that there are (scope `admin`). */
  sessions() {
    return this.#call("GET", "sessions");
  }

  async #call(method, path, { query = {}, body, headers = {}, token = this.#token(), read = json, patience = PATIENCE, signal } = {}) {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) url.searchParams.set(name, value);
    }
    const sent = { Accept: "application/json", ...headers };
    if (token) sent.Authorization = `Bearer ${token}`;
    if (body !== undefined) sent["Content-Type"] = "application/json";
    // Not AbortSignal.any, which browsers and Node have had for too short a time.
    const control = new AbortController();
    const timer = setTimeout(() => control.abort(new DOMException("", "TimeoutError")), patience);
    const abort = () => control.abort(signal.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    try {
      const response = await this.#fetch(url, {
        method,
        headers: sent,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        signal: control.signal,
      });
      if (!response.ok) throw await problemOf(response);
      return await read(response);
    } catch (error) {
      if (error instanceof JobcastError) throw error;
      const slow = error?.name === "TimeoutError";
      throw new JobcastError({ title: slow ? "The server did not answer in time" : undefined });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }
}

function json(response) {
  return response.json();
}

/** An address below which the hub's own are. */
function withSlash(base) {
  const url = new URL(base);
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  url.search = url.hash = "";
  return url.href;
}

function enc(part) {
  return encodeURIComponent(part);
}

/** Also where `crypto.randomUUID` is missing (plain http on another host). */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

function backoff(failures) {
  return Math.random() * Math.min(BACKOFF_CAP, BACKOFF_FIRST * 2 ** Math.min(failures - 1, 16));
}

/** Sleeps so many ms. Throws what `signal` says. */
function pause(ms, signal) {
  return new Promise((done, failed) => {
    const abort = () => {
      clearTimeout(timer);
      failed(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      done();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) abort();
  });
}
