/**
 * Getting a person's attention: the announcer for screen readers, the number in the title, and
 * notifications when the page is hidden.
 */

import { statusWord } from "./format.js";
import { TERMINAL } from "./reducer.js";
import { notifications } from "./storage.js";

export class Attention {
  #announcer;
  #title = document.title;
  #unseen = 0;
  #known = null;
  #speaker = false;
  #enabled = notifications.load();

  /** @param {HTMLElement} announcer the page's only `role=status` */
  constructor(announcer) {
    this.#announcer = announcer;
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#badge(0);
    });
    // Of several open tabs one notifies: whoever holds the lock, as long as it lives.
    navigator.locks?.request("jobcast.notify", () => {
      this.#speaker = true;
      return new Promise(() => {});
    });
  }

  /** Another session: what it holds at first is no news. */
  reset() {
    this.#known = null;
  }

  /** Tells what is news in a session's state. @param {import("./reducer.js").State} state */
  follow(state) {
    const now = new Map();
    const news = [];
    for (const job of state.jobs.values()) {
      now.set(job.id, job.status);
      if (this.#known && this.#known.get(job.id) !== job.status) news.push(job);
    }
    let words = 0;
    for (const m of state.messages.values()) {
      if (m.partial || m.role !== "agent") continue;
      now.set(m.message_id, "said");
      if (this.#known && !this.#known.has(m.message_id)) words += 1;
    }
    this.#known = now;
    if (news.length) this.say(news.map((job) => `${job.title || job.task}: ${statusWord(job)}`).join(". "));
    if (document.visibilityState !== "hidden") return;
    const urgent = news.filter((job) => TERMINAL.has(job.status) || job.status === "input_required");
    if (urgent.length + words) this.#badge(this.#unseen + Math.max(urgent.length, words));
    urgent.forEach((job) => this.#notify(job));
  }

  /** Says something once, politely. */
  say(text) {
    this.#announcer.textContent = text;
  }

  get canNotify() {
    return "Notification" in globalThis;
  }

  get notifies() {
    return this.#enabled && this.canNotify && Notification.permission === "granted";
  }

  /** On a click only: browsers punish asking unasked. @returns {Promise<boolean>} whether it is on now */
  async toggleNotifications() {
    this.#enabled = !this.notifies && (await Notification.requestPermission()) === "granted";
    notifications.save(this.#enabled);
    return this.#enabled;
  }

  #notify(job) {
    if (!this.notifies || !this.#speaker) return;
    try {
      const note = new Notification(job.title || job.task, { body: statusWord(job), tag: job.id });
      note.onclick = () => {
        window.focus();
        note.close();
      };
    } catch {
      // Some mobile browsers allow notifications from service workers only.
    }
  }

  #badge(count) {
    this.#unseen = count;
    document.title = count ? `(${count}) ${this.#title}` : this.#title;
  }
}
