/**
 * Server-Sent Events in the shape of a WebSocket, for networks that let no WebSocket through.
 *
 * Each followed session is one EventSource; commands go by HTTP and are answered as frames. Whoever
 * holds it sees a socket: it opens, brings frames, and closes with a code.
 */

import { Api } from "./api.js";

/** Browsers allow six connections to a host on HTTP/1, and calls need some of them. */
const MAX_STREAMS = 4;

export class SseSocket {
  readyState = 0;
  onopen = null;
  onmessage = null;
  onclose = null;

  #base;
  #token;
  #api;
  #EventSource;
  #streams = new Map();

  /**
   * @param {string} url of the WebSocket, from which the hub's address is known
   * @param {string[]} protocols of which the second is `bearer.<token>`
   * @param {{EventSource?: typeof EventSource, fetch?: typeof fetch}} [parts] stand-ins
   */
  constructor(url, [, bearer], { EventSource = globalThis.EventSource, fetch = globalThis.fetch } = {}) {
    this.#base = new URL("./", url.replace(/^ws/, "http"));
    this.#token = bearer.slice("bearer.".length);
    this.#EventSource = EventSource;
    this.#api = new Api({ base: this.#base, token: () => this.#token, fetch });
    // As a real one: never open before its holder had time to listen.
    queueMicrotask(() => {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      this.onopen?.();
    });
  }

  send(text) {
    const frame = JSON.parse(text);
    if (frame.type === "subscribe") this.#subscribe(frame);
    else if (frame.type === "unsubscribe") this.#stop(frame.session_id);
    else if (frame.type === "auth") this.#answer(frame, async () => { this.#token = frame.token; });
    else if (frame.type === "cancel") this.#answer(frame, () => this.#api.cancel(frame.job_id));
    else if (frame.type === "input") {
      this.#answer(frame, () => this.#api.answer(frame.job_id, { input_id: frame.input_id, value: frame.value }));
    }
  }

  close() {
    this.readyState = 3;
    for (const id of [...this.#streams.keys()]) this.#stop(id);
  }

  #subscribe({ session_id: id, after, ref }) {
    this.#stop(id);
    if (this.#streams.size >= MAX_STREAMS) {
      this.#say({ type: "error", ref, session_id: id, code: 4010, status: 429, title: "Too many sessions for this connection" });
      return;
    }
    const url = new URL(`sessions/${encodeURIComponent(id)}/events`, this.#base);
    // An EventSource can send no headers; the hub keeps this parameter out of its logs.
    url.searchParams.set("token", this.#token);
    if (after !== undefined) url.searchParams.set("after", after);
    const stream = new this.#EventSource(url);
    this.#streams.set(id, stream);
    stream.onmessage = ({ data }) => this.#received(JSON.parse(data), ref);
    // It would come back by itself, but without our token's renewals and our waits.
    stream.onerror = () => this.#end(1006);
  }

  #received(frame, ref) {
    this.#say(frame.type === "hello" ? { ...frame, ref } : frame);
    if (frame.type === "goodbye") this.#end(frame.code);
  }

  async #answer({ ref }, call) {
    let reply = { type: "ok", ref };
    try {
      await call();
    } catch (error) {
      const { status, title, detail, errors } = error;
      reply = { type: "error", ref, code: 4000 + status, status, title: title ?? error.message, detail, errors };
    }
    this.#say(reply);
  }

  #say(frame) {
    if (this.readyState === 1) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  #stop(id) {
    this.#streams.get(id)?.close();
    this.#streams.delete(id);
  }

  #end(code) {
    if (this.readyState === 3) return;
    this.close();
    this.onclose?.({ code });
  }
}
