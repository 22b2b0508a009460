/** Words and figures for people. Pure: the present time is always given. */

/** What each status is called, and its tone (a colour of the theme). */
export const STATUS = Object.freeze({
  pending: { word: "Pending", tone: "idle" },
  running: { word: "Running", tone: "active" },
  input_required: { word: "Needs an answer", tone: "attention" },
  retrying: { word: "Retrying", tone: "attention" },
  cancelling: { word: "Cancelling", tone: "idle" },
  completed: { word: "Completed", tone: "good" },
  failed: { word: "Failed", tone: "bad" },
  cancelled: { word: "Cancelled", tone: "idle" },
});

/** The word of a job's status; a confirm is named as what it is. */
export function statusWord(job) {
  if (job.status === "input_required" && job.input?.kind === "confirm") return "Approval needed";
  return STATUS[job.status]?.word ?? job.status;
}

/** `<1s`, `4.2s`, `42s`, `3m 5s`, `2h 4m`, `3d 2h`. Seconds in; tenths only when `exact`. */
export function duration(seconds, exact = false) {
  if (!Number.isFinite(seconds) || seconds < 1) return "<1s";
  if (exact && seconds < 9.95) return `${seconds.toFixed(1)}s`;
  const s = exact ? Math.round(seconds) : Math.floor(seconds);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
}

/**
 * How long a job has been at it, in words, and what that time is.
 * @param {object} job
 * @param {number} now ms since the epoch, by the hub's clock
 * @returns {{text: string, live: boolean}}
 */
export function elapsed(job, now) {
  const at = (name) => (job[name] ? Date.parse(job[name]) : NaN);
  if (job.finished_at) {
    const from = Number.isNaN(at("started_at")) ? at("created_at") : at("started_at");
    return { text: duration((at("finished_at") - from) / 1000, true), live: false };
  }
  if (job.status === "retrying" && job.run_at) {
    const left = (at("run_at") - now) / 1000;
    return { text: left >= 1 ? `again in ${duration(left)}` : "again now", live: true };
  }
  if (job.status === "pending") {
    const due = (at("run_at") - now) / 1000;
    if (due >= 1) return { text: `starts in ${duration(due)}`, live: true };
    return { text: `waiting ${duration((now - at("created_at")) / 1000)}`, live: true };
  }
  const from = Number.isNaN(at("started_at")) ? at("created_at") : at("started_at");
  return { text: duration((now - from) / 1000), live: true };
}

/**
 * A job's progress as figures.
 * @returns {{value: number|null, figures: string, message: string}} value 0–1, null when unknown
 */
export function progress(job) {
  const p = job.progress ?? {};
  let value = null;
  if (Number.isFinite(p.current) && p.total > 0) value = p.current / p.total;
  else if (Number.isFinite(p.percent)) value = p.percent / 100;
  if (value !== null) value = Math.min(1, Math.max(0, value));
  let figures = "";
  if (Number.isFinite(p.current) && p.total > 0) figures = `${number(p.current)} of ${number(p.total)}`;
  else if (value !== null) figures = `${Math.floor(value * 100)} %`;
  else if (Number.isFinite(p.current)) figures = number(p.current);
  return { value, figures, message: p.message ?? "" };
}

/** The rest of a running job, from its pace so far; empty before 5 % or without a real figure. */
export function eta(job, now) {
  const { value } = progress(job);
  if (job.status !== "running" || value === null || value < 0.05 || value >= 1 || !job.started_at) return "";
  const told = Date.parse(job.updated_at ?? job.started_at);
  const spent = (told - Date.parse(job.started_at)) / 1000;
  const left = (spent * (1 - value)) / value - (now - told) / 1000;
  if (!(spent > 0)) return "";
  return left >= 1 ? `~${duration(left)} left` : "~1s left";
}

/** What keeps a pending job from starting, where that is known: a limit, or a worker that has its task. */
export function heldBack(job) {
  const [, kind, of, name] = /^(limit|task):(?:(task|session|key):)?(.*)$/s.exec(job.parked ?? "") ?? [];
  if (kind === "task") return "waits for a worker that has this task";
  if (kind !== "limit") return "";
  if (of === "task" || of === "session") return `waits for the limit of its ${of}`;
  return name.startsWith("sha256:") ? "waits for a limit" : `waits for the limit ${name}`;
}

/** The name of the schedule that queued a job; empty for others. */
export function scheduleOf(job) {
  const { schedule, due_at } = job.metadata ?? {};
  return typeof schedule === "string" && typeof due_at === "string" ? schedule : "";
}

/** That a running job has told nothing for longer than it should; empty otherwise. */
export function stalled(job, now) {
  if (job.status !== "running" || !job.stalled_since) return "";
  return `no sign of life for ${duration(Math.max(0, now - Date.parse(job.stalled_since)) / 1000)}`;
}

export function number(n) {
  return Number.isInteger(n) ? n.toLocaleString("en-US") : String(n);
}

/** `14:05` today, `12 Nov, 14:05` otherwise. */
export function clockTime(iso, now) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (new Date(now).toDateString() === date.toDateString()) return time;
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** A key of a result as words: `tests_passed` → `Tests passed`. */
export function label(key) {
  const words = String(key).replace(/([a-z])([A-Z])/g, "$1 $2").replace(/[_-]+/g, " ").trim();
  return words ? words[0].toUpperCase() + words.slice(1) : String(key);
}

/** One short line of a text. */
export function brief(text, length = 48) {
  const line = String(text).replace(/\s+/g, " ").trim();
  return line.length > length ? `${line.slice(0, length - 1).trimEnd()}…` : line;
}

/** Which buttons a job has. */
export function actions(job) {
  return {
    cancel: ["pending", "running", "input_required", "retrying"].includes(job.status),
    cancelling: job.status === "cancelling",
    // Another queue's job has to be queued again there.
    retry: ["completed", "failed", "cancelled"].includes(job.status) && !job.retried_by && job.queue !== null,
    answer: job.status === "input_required" && Boolean(job.input),
  };
}
