/** `<jc-job>`: one job, from its queueing to its end. Updated in place, so that focus never moves. */

import "./answer.js";
import "./log-pane.js";
import { copyButton, focusedBeside, h, setText } from "../dom.js";
import {
  STATUS, actions, clockTime, elapsed, eta, heldBack, label, number, progress, scheduleOf, stalled, statusWord,
} from "../format.js";
import { icon } from "../icons.js";
import { TERMINAL } from "../reducer.js";
import { factsView, resultView } from "./result.js";

const ERROR_WORDS = {
  timeout: "It took too long",
  lost: "Its worker died, more than once",
  expired: "It was not started in time",
  unknown_task: "No worker knows this task",
  invalid_params: "Its parameters were refused",
  permanent: "It failed for good",
};

export class JobCard extends HTMLElement {
  #job = null;
  #shownLog = null;
  #context = null;
  #result = undefined;
  #details = "";
  #touched = false;

  connectedCallback() {
    if (this.title_) return;
    const id = this.dataset.jobId;
    this.setAttribute("role", "article");
    this.setAttribute("aria-labelledby", `title-${id}`);
    this.tabIndex = -1;
    this.dataset.testid = "job-card";
    this.mark = h("span.job-mark");
    this.title_ = h("h2.job-title", { id: `title-${id}` });
    this.word = h("span.job-status", { dataset: { testid: "job-status" } });
    this.time_ = h("span.job-elapsed", { dataset: { testid: "job-elapsed" } });
    this.attempt = h("span.job-attempt");
    this.held = h("span.job-held");
    this.schedule = h("span.job-schedule");
    this.parent_ = h("button.plain.job-parent", { type: "button", onclick: () => this.#showParent() });
    this.partOf = h("span.job-part", {}, this.parent_);
    this.task = h("code.job-task");
    this.cancelButton = h("button.button.small", { type: "button", dataset: { action: "cancel" }, onclick: () => this.#cancel() });
    this.retryButton = h("button.button.small", { type: "button", dataset: { action: "retry" }, onclick: () => this.#retry() });
    this.bar = h("progress", { "aria-labelledby": `title-${id}` });
    this.doing = h("span.job-doing");
    this.figures = h("span.job-figures");
    this.eta = h("span.job-eta");
    this.progress = h("div.job-progress", {}, this.bar, h("div.job-progress-words", {}, this.doing, h("span.job-numbers", {}, this.figures, this.eta)));
    this.answer = h("jc-answer", { hidden: true });
    this.problem = h("p.job-problem", { role: "alert" });
    this.error = disclosure("error", "Error");
    this.result = disclosure("result", "Result");
    this.log = disclosure("log", "Log");
    this.logPane = h("jc-log");
    this.log.append(this.logPane);
    this.log.addEventListener("toggle", () => this.logPane.render());
    this.log.querySelector("summary").addEventListener("click", () => { this.#touched = true; });
    this.more = disclosure("details", "Details");
    this.more.hidden = false;
    this.append(
      h("header.job-head", {}, this.mark,
        h("div.job-titles", {}, this.title_,
          h("p.job-meta", {}, this.word, this.time_, this.attempt, this.held, this.partOf, this.schedule, this.task)),
        h("div.job-actions", {}, this.cancelButton, this.retryButton)),
      this.progress, this.answer, this.problem, this.error, this.result, this.log, this.more,
    );
  }

  /**
   * @param {object} job
   * @param {import("../reducer.js").Log} log
   * @param {object} context see `card-context.js`
   */
  update(job, log, context) {
    this.#context = context;
    // Its parent may come after it.
    if (job.parent_id) this.#origin(job);
    // States are never modified: the same objects look the same.
    if (job === this.#job && log === this.#shownLog) return;
    const before = this.#job;
    this.#job = job;
    this.#shownLog = log;
    this.dataset.status = job.status;
    this.dataset.tone = STATUS[job.status]?.tone ?? "idle";
    if (before?.status !== job.status) {
      this.mark.replaceChildren(icon(STATUS[job.status] ? job.status : "pending"));
      this.problem.textContent = "";
    }
    setText(this.title_, job.title || label(job.task));
    setText(this.word, statusWord(job));
    setText(this.task, job.task);
    const again = job.attempt > 1;
    this.attempt.hidden = !again;
    setText(this.attempt, again ? `attempt ${job.attempt} of ${Math.max(job.attempt, job.max_attempts ?? 0)}` : "");
    this.#origin(job);
    this.#buttons();
    this.#progress();
    const asks = actions(job).answer;
    if (!asks && this.answer.contains(focusedBeside(this))) this.focus({ preventScroll: true });
    this.answer.update(asks ? job.input : null,
      (value) => context.input(job.id, job.input.id, value),
      context.may(job.input?.kind === "confirm" ? "approve" : "input"));
    this.#error();
    this.#resultOf(job);
    this.#logOf(job, log, before);
    this.#detailsOf(job);
    this.tick();
  }

  /** Once a second while the job lives: figures only. */
  tick() {
    if (!this.#job) return;
    const now = this.#context.now();
    setText(this.time_, elapsed(this.#job, now).text);
    const quiet = stalled(this.#job, now);
    this.eta.classList.toggle("stalled", quiet !== "");
    const rest = quiet || eta(this.#job, now);
    setText(this.eta, rest);
    this.eta.hidden = !rest;
  }

  get live() {
    return this.#job !== null && !TERMINAL.has(this.#job.status);
  }

  /** Where it comes from, and what it waits for. */
  #origin(job) {
    const held = heldBack(job);
    this.held.hidden = !held || !["pending", "retrying"].includes(job.status);
    setText(this.held, held);
    const schedule = scheduleOf(job);
    this.schedule.hidden = !schedule;
    setText(this.schedule, schedule && `schedule ${schedule}`);
    this.partOf.hidden = !job.parent_id;
    if (!job.parent_id) return;
    const parent = this.#context.find(job.parent_id);
    setText(this.parent_, `part of ${parent ? parent.title || label(parent.task) : "another job"}`);
    this.parent_.disabled = !parent;
  }

  #showParent() {
    const card = this.getRootNode().querySelector(`jc-job[data-job-id="${CSS.escape(this.#job.parent_id)}"]`);
    card?.scrollIntoView({ block: "nearest" });
    card?.focus({ preventScroll: true });
  }

  #buttons() {
    const can = actions(this.#job);
    const mayCancel = this.#context.may("cancel");
    show(this.cancelButton, (can.cancel || can.cancelling) && mayCancel, this);
    this.cancelButton.setAttribute("aria-disabled", String(can.cancelling));
    if (can.cancelling) setText(this.cancelButton, "Cancelling…");
    else if (!this.cancelButton.dataset.busy) setText(this.cancelButton, "Cancel");
    show(this.retryButton, can.retry && this.#context.may("enqueue"), this);
    if (!this.retryButton.dataset.busy) setText(this.retryButton, this.#job.status === "completed" ? "Run again" : "Retry");
  }

  #progress() {
    const job = this.#job;
    const { value, figures, message } = progress(job);
    const working = ["running", "cancelling"].includes(job.status);
    const kept = !TERMINAL.has(job.status) && value !== null;
    this.progress.hidden = !working && !kept;
    if (value === null) this.bar.removeAttribute("value");
    else this.bar.value = value;
    setText(this.doing, message || (working && value === null && !figures ? "Working" : ""));
    setText(this.figures, figures);
  }

  #error() {
    const { error, status } = this.#job;
    const shown = error && (status === "failed" || status === "retrying");
    if (Boolean(shown) === this.error.hidden) this.error.open = Boolean(shown) && status === "failed";
    this.error.hidden = !shown;
    if (!shown) return;
    const text = [error.message, error.traceback].filter(Boolean).join("\n\n");
    const head = ERROR_WORDS[error.code] ?? error.type ?? "Error";
    if (this.error.dataset.text === head + text) return;
    this.error.dataset.text = head + text;
    setText(this.error.querySelector(".disclosure-name"), status === "retrying" ? `Last error: ${head}` : head);
    body(this.error, text ? h("pre.error-text", { tabindex: "0", role: "alert" }, text) : null);
  }

  #resultOf(job) {
    const has = job.status === "completed" && (job.result !== null && job.result !== undefined);
    const cut = job.status === "completed" && job.result_truncated && !has;
    if (!has && !cut) {
      this.result.hidden = true;
      return;
    }
    if (this.#result === job.result && !this.result.hidden) return;
    if (this.result.hidden) this.result.open = true;
    this.#result = job.result;
    this.result.hidden = false;
    if (has) body(this.result, ...resultView(job.result));
    else body(this.result, h("button.button.small", { type: "button", onclick: () => this.#do(() => this.#context.whole(job.id)) }, "Load the result"));
  }

  #logOf(job, log, before) {
    const lines = Math.max(log.last, job.log_lines ?? 0);
    this.log.hidden = lines === 0;
    setText(this.log.querySelector(".disclosure-note"), lines === 1 ? "1 line" : `${number(lines)} lines`);
    // Open while there is something to watch, and when something went wrong; a person's choice stands.
    if (!this.#touched && before?.status !== job.status && !this.logPane.beingRead) {
      this.log.open = ["running", "cancelling", "retrying", "failed"].includes(job.status);
    }
    this.logPane.update(job, log, this.#context);
  }

  #detailsOf(job) {
    const { started_at, finished_at, worker, lost, released, retried_by, params } = job;
    const key = JSON.stringify([started_at, finished_at, worker, lost, released, retried_by, params]);
    if (key === this.#details) return;
    const first = this.#details === "";
    this.#details = key;
    if (first) this.more.addEventListener("toggle", () => this.#fillDetails());
    this.#fillDetails();
  }

  #fillDetails() {
    if (!this.more.open) return;
    const job = this.#job;
    const now = this.#context.now();
    const time = (name) => (job[name] ? clockTime(job[name], now) : "");
    const id = copyButton(() => job.id, `Copy the job's id: ${job.id}`, h("code", {}, job.id), icon("copy"));
    const facts = factsView({
      id, queue: job.queue, created: time("created_at"), started: time("started_at"), finished: time("finished_at"),
      worker: job.worker, released: job.released || "", lost: job.lost || "", part_of: job.parent_id, schedule: scheduleOf(job), retry_of: job.retry_of, retried_by: job.retried_by,
    });
    const params = job.params && Object.keys(job.params).length ? h("div.result-part", {}, h("h3", {}, "Parameters"), factsView(job.params)) : null;
    body(this.more, facts, params);
  }

  async #cancel() {
    if (this.cancelButton.getAttribute("aria-disabled") === "true") return;
    await this.#press(this.cancelButton, "Cancelling…", () => this.#context.cancel(this.#job.id));
  }

  async #retry() {
    await this.#press(this.retryButton, "Queueing…", () => this.#context.retry(this.#job.id));
  }

  async #press(button, words, call) {
    if (button.dataset.busy) return;
    button.dataset.busy = "yes";
    setText(button, words);
    await this.#do(call);
    delete button.dataset.busy;
    this.#buttons();
  }

  async #do(call) {
    this.problem.textContent = "";
    try {
      await call();
    } catch (error) {
      this.problem.textContent = error.message;
    }
  }
}

function disclosure(kind, name) {
  return h("details.disclosure", { hidden: true, dataset: { part: kind } },
    h("summary", {}, icon("chevron"), h("span.disclosure-name", {}, name), h("span.disclosure-note")));
}

function body(details, ...nodes) {
  details.querySelector(".disclosure-body")?.remove();
  details.append(h("div.disclosure-body", {}, ...nodes.filter(Boolean)));
}

/** Hides a button; should it have had the focus, the card takes it, rather than the top of the page. */
function show(button, visible, card) {
  if (!visible && !button.hidden && focusedBeside(card) === button) card.focus({ preventScroll: true });
  button.hidden = !visible;
}

customElements.define("jc-job", JobCard);
