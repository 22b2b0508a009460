/**
 * The REST calls that the page makes.
 *
 * Every call throws a `JobcastError` whose `message` can be shown to a person.
 */

import { JobcastError, problemOf } from "./problem.js";

export class Api {
  #base;
  #token;
  #fetch;

  /**
   * @param {object} options
   * @param {string|URL} options.base address of the hub, with a slash at its end
   * @param {() => string|null} options.token
   * @param {typeof fetch} [options.fetch]
   */
  constructor({ base, token, fetch = globalThis.fetch }) {
    this.#base = base;
    this.#token = token;
    this.#fetch = fetch.bind(globalThis);
  }

  job(id) {
    return this.#call("GET", `jobs/${enc(id)}`);
  }

  /** A page of a session's jobs, newest first. @returns {Promise<{jobs: object[], more: string|null}>} */
  async jobs(sessionId, { cursor, limit = 50 } = {}) {
    const { jobs, more = null } = await this.#call("GET", "jobs", { session_id: sessionId, cursor, limit });
    return { jobs, more };
  }

  cancel(id) {
    return this.#call("POST", `jobs/${enc(id)}/cancel`, null, {});
  }

  answer(id, { input_id, value }) {
    return this.#call("POST", `jobs/${enc(id)}/input`, null, { input_id, value });
  }

  /** A new job that does the same. @returns {Promise<{job_id: string, job: object}>} */
  retry(id) {
    return this.#call("POST", `jobs/${enc(id)}/retry`, null, {});
  }

  /**
   * Log lines after a number.
   * @returns {Promise<{line: number, stream: string, text: string}[]>}
   */
  async logs(id, { after = 0, limit = 1000 } = {}) {
    const { lines } = await this.#call("GET", `jobs/${enc(id)}/logs`, { after, limit });
    return lines;
  }

  /** Messages before a cursor, oldest first. @returns {Promise<{messages: object[], more: string|null}>} */
  async messages(sessionId, { before, limit = 50 } = {}) {
    const path = `sessions/${enc(sessionId)}/messages`;
    const { messages, more = null } = await this.#call("GET", path, { before, limit });
    return { messages, more };
  }

  /** The person speaks. Safe to repeat with the same `message_id`. */
  say(sessionId, { text, message_id }) {
    return this.#call("POST", `sessions/${enc(sessionId)}/messages`, null, { text, message_id });
  }

  /** @returns {Promise<{token: string, expires_at: string, sessions?: string[]}>} */
  exchange(code) {
    return this.#call("POST", "tokens", null, { code }, null);
  }

  renew() {
    return this.#call("POST", "tokens", null, {});
  }

  /** Sessions that there are (scope `admin`). */
  sessions() {
    return this.#call("GET", "sessions");
  }

  async #call(method, path, query = null, body = undefined, token = this.#token()) {
    const url = new URL(path, this.#base);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined && value !== null) url.searchParams.set(name, value);
    }
    const headers = { Accept: "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await this.#fetch(url, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        signal: AbortSignal.timeout(20_000),
      });
    } catch (error) {
      const slow = error?.name === "TimeoutError";
      throw new JobcastError({ title: slow ? "The server did not answer in time" : undefined });
    }
    if (!response.ok) throw await problemOf(response);
    return response.json();
  }
}

function enc(part) {
  return encodeURIComponent(part);
}
