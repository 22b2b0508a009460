/**
 * Messages that the person has sent and the session has not shown yet.
 *
 * A message keeps its `message_id` over every try, so that it can be sent again without being said
 * twice, and leaves this list when the session holds that id. What is here survives a reload.
 *
 * @typedef {{message_id: string, text: string, time: number, state: "sending"|"failed", error?: string}} Unsent
 */

import { randomId } from "./dom.js";
import { unsent } from "./storage.js";

export class Outbox extends EventTarget {
  #sessionId;
  #jobcast;
  /** @type {Unsent[]} */
  #list;

  /** @param {import("./jobcast.js").Jobcast} jobcast @param {string} sessionId */
  constructor(jobcast, sessionId) {
    super();
    this.#jobcast = jobcast;
    this.#sessionId = sessionId;
    this.#list = unsent.load(sessionId).map((m) => ({ ...m, state: "failed", error: "It was not sent." }));
  }

  /** @returns {Unsent[]} oldest first */
  get list() {
    return this.#list;
  }

  say(text) {
    const message = { message_id: `page.${randomId()}`, text, time: this.#jobcast.clock.now(), state: "sending" };
    this.#list = [...this.#list, message];
    this.#send(message);
  }

  /** Tries a failed one again. */
  again(messageId) {
    const message = this.#list.find((m) => m.message_id === messageId);
    if (message?.state === "failed") this.#send(message);
  }

  /** Gives one up and returns its text, so that nothing typed is lost. */
  takeBack(messageId) {
    const message = this.#list.find((m) => m.message_id === messageId);
    this.#list = this.#list.filter((m) => m !== message);
    this.#changed();
    return message?.text ?? "";
  }

  /** The connection is back: what failed for want of one goes out. */
  resend() {
    for (const message of this.#list) if (message.state === "failed" && message.passing) this.#send(message);
  }

  /** Forgets what the session now holds. @param {Map<string, object>} messages */
  settle(messages) {
    const left = this.#list.filter((m) => !messages.has(m.message_id));
    if (left.length === this.#list.length) return;
    this.#list = left;
    this.#changed();
  }

  async #send(message) {
    Object.assign(message, { state: "sending", error: undefined, passing: false });
    this.#changed();
    try {
      await this.#jobcast.api.say(this.#sessionId, message);
    } catch (error) {
      Object.assign(message, { state: "failed", error: error.message, passing: error.passing });
      this.#changed();
    }
  }

  #changed() {
    unsent.save(this.#sessionId, this.#list.map(({ message_id, text, time }) => ({ message_id, text, time })));
    this.dispatchEvent(new Event("change"));
  }
}
