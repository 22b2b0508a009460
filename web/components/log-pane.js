/**
 * `<jc-log>`: a job's log. It follows the end only while it is scrolled to the end, holds at most a
 * thousand lines in the DOM, and reads earlier ones over HTTP when asked.
 */

import { ansiToDom, plainText } from "../ansi.js";
import { copyButton, focusedBeside, h, reconcile, save, setText } from "../dom.js";
import { number } from "../format.js";
import { icon } from "../icons.js";
import { missingLines } from "../reducer.js";

/** Lines in the DOM at most; past it the far end is taken out. */
const MAX_LINES = 1000;
/** Lines shown when the log is opened, and read per step backwards. */
const STEP = 200;
/** Still "at the bottom", in CSS pixels. */
const SLACK = 12;

export class LogPane extends HTMLElement {
  #job = null;
  #log = { from: 1, lines: [], last: 0 };
  #context = null;
  #start = 0;
  #end = 0;
  #following = true;
  /** Lines that were read backwards, older than the reducer's window. */
  #older = new Map();
  /** Lower than this the hub keeps nothing. */
  #floor = 1;
  #busy = false;
  #failed = false;
  #rows = new Map();

  connectedCallback() {
    if (this.view) return;
    this.earlier = h("button.log-earlier", { type: "button", onclick: () => this.#readEarlier() });
    this.list = h("div.log-lines");
    this.view = h("div.log-view", { role: "log", "aria-live": "off", tabindex: "0" }, this.earlier, this.list);
    this.jump = h("button.log-jump", { type: "button", hidden: true, onclick: () => this.#toLatest() },
      icon("down"), "Jump to latest");
    this.download = h("button.copy", { type: "button", "aria-label": "Download the log", title: "Download the log",
      onclick: () => this.#download() }, icon("download"));
    const copy = copyButton(() => this.#text(), "Copy what is shown", icon("copy"));
    this.append(this.view, this.jump, h("div.log-tools", {}, copy, this.download));
    this.view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
  }

  /**
   * @param {object} job
   * @param {import("../reducer.js").Log} log
   * @param {{logs: Function, logText: Function}} context see `card-context.js`
   */
  update(job, log, context) {
    this.#job = job;
    this.#context = context;
    // A log that became shorter is another log (a restored server): start over.
    if (log.last < this.#log.last) {
      this.#older.clear();
      this.#start = 0;
      this.#floor = 1;
    }
    this.#log = log;
    this.view.setAttribute("aria-label", `Log of ${job.title ?? job.task}`);
    this.render();
  }

  /** Shown or hidden by its card: hidden, it neither renders nor reads. */
  get active() {
    return this.isConnected && !this.closest("details:not([open])");
  }

  /** Whether a person is in the middle of it. */
  get beingRead() {
    return this.active && (!this.#following || this.contains(focusedBeside(this)));
  }

  render() {
    if (!this.active || !this.#job) return;
    const { last } = this.#log;
    const first = this.#start === 0;
    if (first) this.#start = Math.max(1, last - STEP + 1);
    if (this.#following || first) this.#end = last;
    else if (this.#end - this.#start + 1 < MAX_LINES) this.#end = last;
    if (this.#following) this.#start = Math.max(this.#start, this.#end - MAX_LINES + 1);
    this.#end = Math.min(this.#end, this.#start + MAX_LINES - 1);
    this.#start = Math.max(this.#start, this.#floor);
    this.#draw();
    this.jump.hidden = this.#following || (this.#atBottom() && this.#end === last);
    this.#fill();
  }

  #line(n) {
    return (n >= this.#log.from && this.#log.lines[n - this.#log.from]) || this.#older.get(n) || null;
  }

  #wanted() {
    const rows = new Map();
    const wanted = [];
    const put = (key, line, make) => {
      const had = this.#rows.get(key);
      const row = had && had.line === line ? had : { line, el: make() };
      rows.set(key, row);
      wanted.push(row.el);
    };
    let hole = 0;
    for (let n = this.#start; n <= this.#end; n += 1) {
      const line = this.#line(n);
      if (line) {
        put(n, line, () => lineRow(n, line));
        hole = 0;
      } else if (!hole) {
        hole = n;
        put(`hole ${n}`, null, () => h("div.log-hole", {}, "…"));
      }
    }
    this.#rows = rows;
    return wanted;
  }

  #tellEarlier() {
    const before = this.#start - this.#floor;
    this.earlier.hidden = this.#start <= 1 || this.#log.last === 0;
    this.earlier.disabled = before <= 0;
    if (before <= 0) setText(this.earlier, "Earlier lines were not kept");
    else if (this.#failed) setText(this.earlier, "Earlier lines could not be read: try again");
    else setText(this.earlier, `Show earlier lines (${number(before)})`);
  }

  /** Reads what is known to exist and was never sent here: skipped by a slow connection, or before our time. */
  async #fill() {
    if (this.#busy || this.#failed) return;
    const hole = this.#firstHole();
    if (!hole) return;
    await this.#read(hole.from, Math.min(hole.to, hole.from + MAX_LINES - 1));
  }

  #firstHole() {
    const held = missingLines(this.#log, MAX_LINES).find((r) => r.to >= this.#start && r.from <= this.#end);
    if (held) return { from: Math.max(held.from, this.#start), to: Math.min(held.to, this.#end) };
    for (let n = this.#start; n <= Math.min(this.#end, this.#log.from - 1); n += 1) {
      if (!this.#line(n)) return { from: n, to: Math.min(this.#end, this.#log.from - 1) };
    }
    return null;
  }

  async #read(from, to) {
    this.#busy = true;
    let lines = null;
    try {
      lines = await this.#context.logs(this.#job.id, from - 1, to - from + 1);
    } catch {
      this.#failed = true;
      setTimeout(() => { this.#failed = false; this.render(); }, 5000);
    }
    this.#busy = false;
    if (lines) {
      const first = lines.length ? lines[0].line : to + 1;
      // The hub keeps the tail: what it does not have of so early a range is gone.
      if (first > from) this.#floor = Math.max(this.#floor, Math.min(first, to + 1));
      for (const l of lines) if (l.line < this.#log.from || !this.#line(l.line)) this.#older.set(l.line, l);
    }
    this.render();
    for (const n of this.#older.keys()) if (n < this.#start || n > this.#end) this.#older.delete(n);
  }

  #readEarlier() {
    this.#following = false;
    this.#failed = false;
    this.#start = Math.max(this.#floor, this.#start - STEP);
    this.#end = Math.min(this.#end, this.#start + MAX_LINES - 1);
    // Drawing finds the lines that are not held, and reads them.
    this.render();
  }

  /** Draws the rows. What comes or goes above must not move the row that is being read. */
  #draw() {
    const { scrollTop } = this.view;
    const origin = this.view.offsetTop;
    const anchor = this.#following ? null
      : [...this.list.children].find((row) => row.dataset.n && row.offsetTop - origin + row.offsetHeight > scrollTop);
    const before = anchor?.offsetTop;
    reconcile(this.list, this.#wanted());
    this.#tellEarlier();
    if (this.#following) this.view.scrollTop = this.view.scrollHeight;
    else if (anchor?.isConnected) this.view.scrollTop = scrollTop + anchor.offsetTop - before;
  }

  #toLatest() {
    this.#following = true;
    this.#start = Math.max(1, this.#log.last - STEP + 1);
    this.#older.clear();
    this.render();
    this.view.focus({ preventScroll: true });
  }

  #atBottom() {
    return this.view.scrollHeight - this.view.scrollTop - this.view.clientHeight <= SLACK;
  }

  #scrolled() {
    const follow = this.#atBottom() && this.#end === this.#log.last;
    if (follow === this.#following) return;
    this.#following = follow;
    this.jump.hidden = follow;
  }

  /** All that the hub keeps, and not only what is shown. */
  async #download() {
    const button = this.download;
    if (button.disabled) return;
    button.disabled = true;
    try {
      save(await this.#context.logText(this.#job.id), `${this.#job.task}-${this.#job.id}.log`);
    } catch {
      button.dataset.failed = "yes";
      setTimeout(() => delete button.dataset.failed, 3000);
    }
    button.disabled = false;
  }

  #text() {
    const lines = [];
    for (let n = this.#start; n <= this.#end; n += 1) {
      const line = this.#line(n);
      if (line) lines.push(plainText(line.text));
    }
    return `${lines.join("\n")}\n`;
  }
}

function lineRow(n, line) {
  const row = h("div.log-line", { dataset: { n: String(n), stream: line.stream ?? "stdout" } });
  row.append(ansiToDom(line.text));
  return row;
}

customElements.define("jc-log", LogPane);
