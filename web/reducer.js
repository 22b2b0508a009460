/**
 * The session reducer: pure, without I/O, clock or DOM.
 *
 * `reduce(state, frame)` takes what the hub sent (or what was fetched over HTTP) and returns a new
 * state. It is idempotent: a frame seen twice, or one older than what is held, changes nothing but
 * the cursor. That is what lets snapshots, replays and live events overlap without care.
 *
 * @typedef {object} Line
 * @property {string} stream `stdout`, `stderr` or another name given by the task
 * @property {string} text
 *
 * @typedef {object} Log a window on a job's log: the tail, at most LOG_KEPT lines, holes included
 * @property {number} from number of the line at index 0 (lines count from 1)
 * @property {(Line|null)[]} lines null where a line is known to exist but is not held
 * @property {number} last the highest line number known to exist, 0 without any
 *
 * @typedef {object} Message
 * @property {string} message_id
 * @property {"user"|"agent"} role
 * @property {string} text
 * @property {string} time ISO 8601
 * @property {string=} cursor of its event, where known
 * @property {string|null=} job_id
 * @property {boolean=} partial still being written
 *
 * @typedef {object} State
 * @property {string|null} cursor position in the session's lifecycle events; null before the first hello
 * @property {Map<string, object>} jobs by id
 * @property {Map<string, Message>} messages by message_id
 * @property {Map<string, Log>} logs by job id
 * @property {string|null} more cursor of the next page of `GET /jobs`, null when all are held
 *
 * @typedef {object} Outcome
 * @property {State} state
 * @property {string[]} need ids of jobs that must be fetched with `GET /jobs/{id}`
 * @property {boolean} changed whether anything but the cursor may look different
 */

/** Lines of a job's log that are kept in memory: older ones are read over HTTP. */
export const LOG_KEPT = 1000;

export const TERMINAL = new Set(["completed", "failed", "cancelled"]);

const EMPTY_LOG = Object.freeze({ from: 1, lines: Object.freeze([]), last: 0 });

/** @returns {State} */
export function initialState() {
  return { cursor: null, jobs: new Map(), messages: new Map(), logs: new Map(), more: null };
}

/**
 * @param {State} state never modified
 * @param {object} frame an event or hello of the hub, or `fetched.job {job}`,
 *   `fetched.jobs {jobs, more}`, `fetched.messages {messages}`, `fetched.logs {job_id, lines, to}`
 * @returns {Outcome}
 */
export function reduce(state, frame) {
  const type = frame.type;
  if (type === "hello") return hello(state, frame);
  if (type === "job.log") return logged(state, frame);
  if (type === "job.log_gap") return gap(state, frame);
  if (type === "message.partial") return partial(state, frame);
  if (type === "message.user" || type === "message.agent") return message(state, frame);
  if (type === "fetched.job") return done(withJobs(state, [frame.job]));
  if (type === "fetched.jobs") return done({ ...withJobs(state, frame.jobs), more: frame.more ?? null });
  if (type === "fetched.messages") return fetchedMessages(state, frame);
  if (type === "fetched.logs") return fetchedLogs(state, frame);
  if (typeof type === "string" && type.startsWith("job.")) return jobEvent(state, frame);
  return { state, need: [], changed: false };
}

/** The log of a job as held, an empty one when nothing is. @returns {Log} */
export function logOf(state, jobId) {
  return state.logs.get(jobId) ?? EMPTY_LOG;
}

/**
 * Which lines of the tail are not held.
 * @param {Log} log
 * @param {number} tail how many of the last lines matter
 * @returns {{from: number, to: number}[]} inclusive ranges, ascending
 */
export function missingLines(log, tail = LOG_KEPT) {
  const ranges = [];
  let open = 0;
  for (let n = Math.max(1, log.last - tail + 1); n <= log.last; n += 1) {
    const held = n >= log.from && log.lines[n - log.from];
    if (!held && !open) open = n;
    if (held && open) {
      ranges.push({ from: open, to: n - 1 });
      open = 0;
    }
  }
  if (open) ranges.push({ from: open, to: log.last });
  return ranges;
}

function done(state) {
  return { state, need: [], changed: true };
}

function hello(state, frame) {
  const jobs = frame.jobs ?? [];
  const messages = frame.messages ?? [];
  if (frame.resumed) {
    const next = withMessages(withJobs(state, jobs), messages);
    return done({ ...next, cursor: frame.cursor });
  }
  const held = new Map();
  const logs = new Map();
  for (const job of jobs) {
    const mine = state.jobs.get(job.id);
    // Of equals, ours may be the whole one: lists leave out what is large.
    held.set(job.id, mine && mine.rev === job.rev ? mine : job);
    const log = state.logs.get(job.id);
    if (log && log.last <= (job.log_lines ?? 0)) logs.set(job.id, log);
  }
  let next = { cursor: frame.cursor, jobs: held, messages: new Map(), logs, more: frame.more ?? null };
  next = withMessages(withLogLengths(noteRetries(next, jobs), jobs), messages);
  return done(next);
}

function jobEvent(state, event) {
  const id = event.job_id;
  const moved = event.id ? { ...state, cursor: event.id } : state;
  const held = state.jobs.get(id);
  if (!held && event.rev !== 1) return { state: moved, need: [id], changed: false };
  if (held && event.rev <= held.rev) return { state: moved, need: [], changed: false };
  const job = { ...held, updated_at: event.time, ...event.data, id, session_id: event.session_id, rev: event.rev };
  const jobs = new Map(state.jobs).set(id, job);
  return done(withLogLengths(noteRetries({ ...moved, jobs }, [job]), [job]));
}

/** Adds whole jobs under the rev rule. */
function withJobs(state, list) {
  const newer = list.filter((job) => !(state.jobs.get(job.id)?.rev > job.rev) && !sameButCut(state, job));
  if (!newer.length) return state;
  const jobs = new Map(state.jobs);
  for (const job of newer) jobs.set(job.id, job);
  return withLogLengths(noteRetries({ ...state, jobs }, newer), newer);
}

/** A job of the same rev replaces ours only when it brings what was left out of ours. */
function sameButCut(state, job) {
  const held = state.jobs.get(job.id);
  if (held?.rev !== job.rev) return false;
  return Object.keys(job).some((name) => name.endsWith("_truncated") && job[name]) || !isCut(held);
}

function isCut(job) {
  return Boolean(job.result_truncated || job.params_truncated || job.metadata_truncated);
}

/** A retry emits no event of the old job: the new one tells. */
function noteRetries(state, jobs) {
  const told = jobs.filter((job) => job.retry_of && state.jobs.has(job.retry_of));
  // The new job may have been held before the old one was.
  const back = [];
  for (const job of jobs) {
    if (job.retried_by) continue;
    for (const other of state.jobs.values()) if (other.retry_of === job.id) back.push(other);
  }
  const all = [...told, ...back].filter((job) => state.jobs.get(job.retry_of).retried_by !== job.id);
  if (!all.length) return state;
  const next = new Map(state.jobs);
  for (const job of all) next.set(job.retry_of, { ...next.get(job.retry_of), retried_by: job.id });
  return { ...state, jobs: next };
}

/** A job's `log_lines` says how far its log goes, even when its lines were never sent here. */
function withLogLengths(state, jobs) {
  let logs = null;
  for (const job of jobs) {
    const last = job.log_lines ?? 0;
    const log = (logs ?? state.logs).get(job.id) ?? EMPTY_LOG;
    if (last > log.last) (logs ??= new Map(state.logs)).set(job.id, window(log, last, []));
  }
  return logs ? { ...state, logs } : state;
}

function logged(state, event) {
  const lines = event.data?.lines ?? [];
  const numbered = lines.map((line, i) => ({ line: event.line + i, stream: line.stream, text: line.text }));
  return putLines(state, event.job_id, numbered, 0);
}

function gap(state, event) {
  return putLines(state, event.job_id, [], event.data.to);
}

function fetchedLogs(state, frame) {
  return putLines(state, frame.job_id, frame.lines, frame.to ?? 0);
}

function putLines(state, id, lines, to) {
  if (!state.jobs.has(id)) return { state, need: [id], changed: false };
  const log = state.logs.get(id) ?? EMPTY_LOG;
  const last = lines.reduce((top, { line }) => Math.max(top, line), Math.max(log.last, to));
  const logs = new Map(state.logs).set(id, window(log, last, lines));
  return done({ ...state, logs });
}

/** A new window that ends at `last` and holds the old lines and the given ones. */
function window(log, last, lines) {
  const first = log.lines.length ? log.from : last + 1;
  const low = lines.reduce((least, { line }) => Math.min(least, line), first);
  const from = Math.max(1, low, last - LOG_KEPT + 1);
  const kept = new Array(Math.max(0, last - from + 1)).fill(null);
  log.lines.forEach((line, i) => {
    if (log.from + i >= from) kept[log.from + i - from] = line;
  });
  for (const { line, stream, text } of lines) if (line >= from) kept[line - from] = { stream, text };
  return { from, lines: kept, last };
}

function message(state, event) {
  const role = event.data.role ?? event.type.slice("message.".length);
  const whole = { time: event.time, job_id: null, ...event.data, role, cursor: event.id };
  const next = withMessages(state, [whole]);
  return { state: { ...next, cursor: event.id ?? state.cursor }, need: [], changed: next !== state };
}

function partial(state, event) {
  const id = event.data.message_id;
  const held = state.messages.get(id);
  if (held && !held.partial) return { state, need: [], changed: false };
  const text = event.data.text;
  const mine = { role: "agent", time: event.time, job_id: null, ...held, message_id: id, text, partial: true };
  return done({ ...state, messages: new Map(state.messages).set(id, mine) });
}

function withMessages(state, list) {
  const fresh = list.filter((m) => {
    const held = state.messages.get(m.message_id);
    return !held || held.partial;
  });
  if (!fresh.length) return state;
  const messages = new Map(state.messages);
  for (const m of fresh) messages.set(m.message_id, m);
  return { ...state, messages };
}

function fetchedMessages(state, frame) {
  const known = frame.messages.filter((m) => !state.messages.has(m.message_id));
  // Older ones go in front, so that insertion order stays the order of the session.
  const messages = new Map([...known.map((m) => [m.message_id, m]), ...state.messages]);
  return done({ ...state, messages });
}
