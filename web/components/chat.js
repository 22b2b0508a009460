/** `<jc-chat>`: a session's messages and jobs in one timeline, by time. */

import "./job-card.js";
import { h, reconcile, setText } from "../dom.js";
import { clockTime } from "../format.js";
import { icon } from "../icons.js";
import { markdown } from "../markdown.js";
import { logOf } from "../reducer.js";

/** Still "at the bottom", in CSS pixels. */
const SLACK = 32;
/** For how long a wheel, touch or key accounts for a scroll, in ms. */
const HAND = 400;
/** How long the dots show that an answer is being thought of, in ms. */
const THINKING = 20_000;
const SUGGESTIONS = ["Run the full test suite", "Deploy to staging", "What can you do?"];

export class Chat extends HTMLElement {
  #items = new Map();
  #stuck = true;
  /** What was measured when it was last scrolled. */
  #measured = "";
  /** When a person's hand last moved it, by `performance.now()`. */
  #moved = -HAND;
  #state = null;
  #outbox = null;
  #context = null;
  #thinkingTimer = 0;

  connectedCallback() {
    if (this.scroller) return;
    this.older = h("button.plain.older", { type: "button", hidden: true, onclick: () => this.#readOlder() }, "Show earlier");
    this.list = h("div.timeline-items");
    this.thinking = h("div.thinking", { hidden: true, "aria-hidden": "true" }, h("span"), h("span"), h("span"));
    this.empty = this.#emptyState();
    this.loading = h("div.loading", { "aria-hidden": "true" }, h("span"), h("span"), h("span"));
    this.content = h("div.timeline", {}, this.loading, this.empty, this.older, this.list, this.thinking);
    this.scroller = h("div.scroller", { tabindex: "0", role: "region", "aria-label": "Conversation", dataset: { testid: "timeline" } }, this.content);
    this.jump = h("button.jump", { type: "button", hidden: true, onclick: () => this.toLatest() }, icon("down"), "Latest");
    this.append(this.scroller, this.jump);
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    for (const type of ["wheel", "touchmove", "keydown", "pointerdown"]) {
      this.scroller.addEventListener(type, () => { this.#moved = performance.now(); }, { passive: true });
    }
    // Opening a section is reading it: its end must not be scrolled into view instead of its start.
    this.list.addEventListener("click", (event) => {
      if (!event.target.closest("summary")) return;
      this.#stuck = false;
      requestAnimationFrame(() => requestAnimationFrame(() => this.#scrolled()));
    });
    const watch = new ResizeObserver(() => this.#stick());
    watch.observe(this.content);
    watch.observe(this.scroller);
  }

  /**
   * @param {import("../reducer.js").State|null} state null until the first hello
   * @param {import("../outbox.js").Unsent[]} outbox
   * @param {object} context see `JobCard.update`; also `suggest(text)`, `older()`, `again(id)`, `takeBack(id)`
   */
  update(state, outbox, context) {
    this.#state = state;
    this.#outbox = outbox;
    this.#context = context;
    const held = new Map();
    const put = (key, time, make, fill) => {
      const el = this.#items.get(key)?.el ?? make();
      held.set(key, { el, time, fill });
    };
    for (const m of state?.messages.values() ?? []) {
      put(`message ${m.message_id}`, Date.parse(m.time), () => messageElement(m.role), (el) => fillMessage(el, m, context));
    }
    for (const m of outbox) {
      if (state?.messages.has(m.message_id)) continue;
      put(`message ${m.message_id}`, m.time, () => messageElement("user"), (el) => fillUnsent(el, m, context));
    }
    for (const job of state?.jobs.values() ?? []) {
      put(`job ${job.id}`, Date.parse(job.created_at), () => h("jc-job", { dataset: { jobId: job.id } }),
        (el) => el.update(job, logOf(state, job.id), context));
    }
    this.#items = held;
    const order = [...held.values()].sort((a, b) => a.time - b.time);
    reconcile(this.list, order.map((item) => item.el));
    for (const { el, fill } of order) fill(el);
    const known = state !== null && state.cursor !== null;
    this.loading.hidden = known || held.size > 0;
    this.empty.hidden = !known || held.size > 0;
    this.older.hidden = !known || !held.size || !context.hasOlder();
    this.#think();
    if (this.#stuck) this.#stick();
    else this.#scrolled();
  }

  /** Once a second. */
  tick() {
    for (const { el } of this.#items.values()) if (el.live) el.tick();
  }

  toLatest() {
    this.#stuck = true;
    this.#stick();
  }

  /** Another session is about to be shown. */
  clear() {
    this.#items = new Map();
    this.list.replaceChildren();
    this.#stuck = true;
  }

  /** Moves the focus to the next (1) or previous (-1) card. */
  step(direction) {
    const cards = [...this.list.querySelectorAll("jc-job")];
    if (!cards.length) return;
    const at = cards.indexOf(document.activeElement?.closest("jc-job"));
    // From nowhere both directions begin at the newest: that is what is in view.
    const card = cards[at < 0 ? cards.length - 1 : Math.max(0, Math.min(cards.length - 1, at + direction))];
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }

  async #readOlder() {
    const height = this.scroller.scrollHeight;
    const top = this.scroller.scrollTop;
    this.#stuck = false;
    this.older.disabled = true;
    setText(this.older, "Reading…");
    let words = "Show earlier";
    try {
      await this.#context.older();
      // What was read is drawn with the next frame: only then is there something to make up for.
      await new Promise(requestAnimationFrame);
    } catch (error) {
      words = `${error.message} Try again`;
    }
    this.older.disabled = false;
    setText(this.older, words);
    this.scroller.scrollTop = top + this.scroller.scrollHeight - height;
  }

  #think() {
    clearTimeout(this.#thinkingTimer);
    const order = [...(this.#state?.messages.values() ?? [])];
    const last = order[order.length - 1];
    const asked = last?.role === "user" ? Date.parse(last.time) : NaN;
    const working = [...(this.#state?.jobs.values() ?? [])].some((job) => Date.parse(job.created_at) >= asked);
    const left = asked + THINKING - this.#context.now();
    this.thinking.hidden = !(left > 0) || working || this.#outbox.length > 0;
    if (!this.thinking.hidden) this.#thinkingTimer = setTimeout(() => { this.thinking.hidden = true; }, left);
  }

  #stick() {
    if (this.#stuck) {
      this.scroller.scrollTop = this.scroller.scrollHeight;
      this.#measured = this.#measure();
      this.jump.hidden = true;
    } else {
      this.#scrolled();
    }
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    const measured = this.#measure();
    const atEnd = scrollHeight - scrollTop - clientHeight <= SLACK;
    // A scroll is told later than it happens: when the content has grown meanwhile and no hand was
    // on it, it was ours, and it is the end that has moved away.
    const ours = this.#stuck && measured !== this.#measured && performance.now() - this.#moved > HAND;
    this.#measured = measured;
    if (ours && !atEnd) {
      this.#stick();
      return;
    }
    this.#stuck = atEnd;
    this.jump.hidden = atEnd;
  }

  #measure() {
    return `${this.scroller.scrollHeight} ${this.scroller.clientHeight}`;
  }

  #emptyState() {
    const chips = SUGGESTIONS.map((text) =>
      h("button.chip", { type: "button", onclick: () => this.#context.suggest(text) }, text));
    return h("div.empty", { hidden: true, dataset: { testid: "empty" } },
      h("h2", {}, "What should run?"),
      h("p", {}, "Ask for a job in your own words. It runs in the background, and you are told here the moment it is done, "
        + "needs you, or goes wrong. You may close this page meanwhile."),
      h("div.chips", {}, ...chips));
  }
}

function messageElement(role) {
  const el = h(`article.message.message-${role}`, { dataset: { role, testid: `message-${role}` } },
    h("span.offscreen", {}, role === "user" ? "You said" : "Jobcast said"),
    h("div.message-text"),
    h("p.message-note", { hidden: true }));
  return el;
}

function fillMessage(el, message, context) {
  el.dataset.messageId = message.message_id;
  el.dataset.partial = String(Boolean(message.partial));
  delete el.dataset.unsent;
  const note = el.querySelector(".message-note");
  note.hidden = true;
  el.title = clockTime(message.time, context.now());
  if (el.dataset.text === message.text) return;
  el.dataset.text = message.text;
  const body = el.querySelector(".message-text");
  if (message.role === "agent") body.replaceChildren(markdown(message.text));
  else setText(body, message.text);
}

function fillUnsent(el, message, context) {
  el.dataset.messageId = message.message_id;
  el.dataset.unsent = message.state;
  el.dataset.text = message.text;
  setText(el.querySelector(".message-text"), message.text);
  const note = el.querySelector(".message-note");
  note.hidden = message.state !== "failed";
  if (note.hidden || note.dataset.error === message.error) return;
  note.dataset.error = message.error;
  note.replaceChildren(
    h("span", { role: "alert" }, message.error ?? "It was not sent."),
    h("button.plain", { type: "button", onclick: () => context.again(message.message_id) }, "Send again"),
    h("button.plain", { type: "button", onclick: () => context.takeBack(message.message_id) }, "Edit"),
  );
}

customElements.define("jc-chat", Chat);
