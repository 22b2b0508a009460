/** Jobcast for browsers and for Node: see jobcast.js for what each part promises. */

export type JobStatus =
  | "pending" | "running" | "input_required" | "retrying" | "cancelling"
  | "completed" | "failed" | "cancelled";

export type Json = unknown;

export interface Progress {
  /** 0–100. */
  percent?: number | null;
  current?: number | null;
  total?: number | null;
  message?: string | null;
}

export interface JobError {
  code: "error" | "permanent" | "timeout" | "lost" | "expired" | "unknown_task" | "invalid_params";
  message: string;
  type?: string | null;
  traceback?: string | null;
}

/** A question that a job asks a person. */
export interface JobInput {
  id: string;
  kind: "confirm" | "question";
  prompt: string;
  options?: string[] | null;
  schema?: Json;
  asked_at?: string | null;
}

/** A job; absent means null. Times are ISO 8601 UTC, durations seconds. */
export interface Job {
  id: string;
  session_id: string;
  task: string;
  title?: string | null;
  status: JobStatus;
  rev: number;
  params?: Json;
  params_truncated?: boolean;
  queue?: string | null;
  priority?: number;
  attempt?: number;
  max_attempts?: number;
  lost?: number;
  released?: number;
  progress?: Progress | null;
  log_lines?: number;
  input?: JobInput | null;
  result?: Json;
  result_truncated?: boolean;
  error?: JobError | null;
  worker?: string | null;
  key?: string | null;
  webhook_url?: string | null;
  metadata?: Json;
  metadata_truncated?: boolean;
  retry_of?: string | null;
  retried_by?: string | null;
  parent_id?: string | null;
  created_at: string;
  run_at?: string | null;
  started_at?: string | null;
  finished_at?: string | null;
  updated_at: string;
  timeout?: number | null;
  stalled_since?: string | null;
  /** What keeps it from starting: `limit:…`, or `task:…` for which there is no worker. */
  parked?: string | null;
}

export interface Message {
  message_id: string;
  role: "user" | "agent";
  text: string;
  time: string;
  job_id?: string | null;
  cursor?: string | null;
  /** Still being written. */
  partial?: boolean;
}

/** The session as it is (`resumed: false`), or what brings a resumed one up to date. */
export interface Hello {
  type: "hello";
  session_id: string;
  /** The position held after this alone. */
  cursor: string;
  resumed: boolean;
  jobs: Job[];
  more: string | null;
  messages: Message[];
  time: string;
}

/** A job has another status; `data` has what changed, and the whole job with `rev: 1`. */
export interface JobEvent {
  type: `job.${JobStatus}`;
  /** The cursor of this event. */
  id: string;
  session_id: string;
  job_id: string;
  rev: number;
  time: string;
  data: Partial<Job> & { status: JobStatus };
}

export interface MessageEvent {
  type: "message.user" | "message.agent";
  id: string;
  session_id: string;
  time: string;
  data: { message_id: string; text: string; role?: "user" | "agent"; job_id?: string | null };
}

/** The latest of several counts: some may be skipped. */
export interface ProgressEvent {
  type: "job.progress";
  session_id: string;
  job_id: string;
  rev: number;
  time: string;
  data: { progress?: Progress | null; stalled_since?: string | null; parked?: string | null };
}

export interface LogEvent {
  type: "job.log";
  session_id: string;
  job_id: string;
  /** The number of the first of the lines. */
  line: number;
  time: string;
  data: { lines: { stream: string; text: string }[] };
}

/** Lines that were skipped, both included: `api.logs()` has them. */
export interface LogGapEvent {
  type: "job.log_gap";
  session_id: string;
  job_id: string;
  time?: string;
  data: { from: number; to: number };
}

/** The text so far of a message that is still being written. */
export interface PartialMessageEvent {
  type: "message.partial";
  session_id: string;
  time: string;
  data: { message_id: string; text: string };
}

export type LifecycleEvent = JobEvent | MessageEvent;
export type SessionEvent =
  | Hello | LifecycleEvent | ProgressEvent | LogEvent | LogGapEvent | PartialMessageEvent;

export interface LogLine {
  stream: string;
  text: string;
}

/** The tail of a job's log, at most 1,000 lines. */
export interface Log {
  /** The number of the line at index 0. */
  from: number;
  /** null where a line is known to exist but is not held. */
  lines: (LogLine | null)[];
  /** The highest line number known to exist, 0 without any. */
  last: number;
}

/** A session as the client knows it. Never modified: what looks different is another object. */
export interface SessionState {
  cursor: string | null;
  jobs: ReadonlyMap<string, Job>;
  messages: ReadonlyMap<string, Message>;
  logs: ReadonlyMap<string, Log>;
  /** The cursor of the next page of `api.jobs()`, null when all are held. */
  more: string | null;
}

export interface Outcome {
  state: SessionState;
  /** Jobs that have to be fetched. */
  need: string[];
  changed: boolean;
}

export interface Connection {
  /** online: the hub has spoken; waiting: for `retryAt`; closed: for good, see `code`. */
  status: "idle" | "connecting" | "online" | "waiting" | "closed";
  /** ms since the epoch. */
  retryAt: number | null;
  /** The last close code, 0 for none. */
  code: number;
}

export interface GivenToken {
  token: string;
  expiresAt?: string | null;
}

/** What is used of a WebSocket: the browser's, Node's own and that of the package ws have it. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string): void;
  close(): void;
}

export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;

export interface JobcastOptions {
  /** The address of the hub. */
  base: string | URL;
  /** A session token; in Node it may be an API key. */
  token?: string | null;
  /** ISO 8601; without it the token is not renewed in advance. */
  expiresAt?: string | null;
  /** Asked when there is no token, or when the hub refuses ours and it cannot be renewed; null: give up. */
  getToken?: (reason: number) => Promise<GivenToken | null>;
  /** For a Node without one of its own: that of the package ws. */
  WebSocket?: WebSocketClass;
  /** Where no WebSocket gets through: Server-Sent Events unless said, if there is an EventSource; null: nothing. */
  fallback?: WebSocketClass | null;
  fetch?: typeof fetch;
  clock?: { now(): number; sample(iso: string, anew?: boolean): void };
  random?: () => number;
}

export interface JobcastEventMap {
  change: CustomEvent<{ sessionId: string; state: SessionState; frame: object }>;
  event: CustomEvent<{ sessionId: string; event: SessionEvent }>;
  connection: CustomEvent<null>;
  token: CustomEvent<{ token: string; expiresAt: string | null }>;
  refused: CustomEvent<{ sessionId: string; code: number; error: JobcastError }>;
}

export class Jobcast extends EventTarget {
  /** @throws {TypeError} there is no WebSocket here, and none was given */
  constructor(options: JobcastOptions);
  readonly api: Api;
  /** The hub's clock, in ms since the epoch. */
  readonly clock: { now(): number };
  readonly connection: Connection;
  /** Follows a session; connects if need be. */
  open(sessionId: string): void;
  /** Stops following a session and forgets it. */
  close(sessionId: string): void;
  /** Ends everything. */
  destroy(): void;
  /**
   * First a hello, then each lifecycle event once, and progress and log lines as they come; through
   * restarts of the hub, and outages.
   * @throws {JobcastError} the session or the credential is refused for good; or what `signal` says
   */
  subscribe(sessionId: string, options?: { after?: string | null; signal?: AbortSignal }): AsyncGenerator<SessionEvent, void, void>;
  /** The state of a followed session. */
  state(sessionId: string): SessionState | null;
  /** Connects at once instead of at the planned time. */
  retryNow(): void;
  cancel(jobId: string): Promise<object>;
  /** Answers a job's question. */
  input(jobId: string, inputId: string, value: Json): Promise<object>;
  /** Puts what was fetched over HTTP into a session's state. */
  put(sessionId: string, frame: object): void;
  /** Fetches a job whole and puts it into its session's state. */
  refresh(sessionId: string, jobId: string): Promise<Job>;

  addEventListener<K extends keyof JobcastEventMap>(type: K, listener: (event: JobcastEventMap[K]) => void, options?: ListenerOptions): void;
  addEventListener(...anything: Parameters<EventTarget["addEventListener"]>): void;
  removeEventListener<K extends keyof JobcastEventMap>(type: K, listener: (event: JobcastEventMap[K]) => void, options?: ListenerOptions): void;
  removeEventListener(...anything: Parameters<EventTarget["removeEventListener"]>): void;
}

export type ListenerOptions = boolean | { capture?: boolean; once?: boolean; passive?: boolean; signal?: AbortSignal };

export interface NewJob {
  task: string;
  session_id: string;
  params?: Record<string, Json>;
  key?: string;
  title?: string;
  /** null: somebody else's queue runs it. */
  queue?: string | null;
  /** 0–9, smaller first. */
  priority?: number;
  /** Seconds. */
  delay?: number;
  run_at?: string;
  expires_in?: number;
  timeout?: number;
  max_attempts?: number;
  durable?: boolean;
  webhook_url?: string;
  metadata?: Record<string, Json>;
}

export interface Queued {
  job_id: string;
  status: JobStatus;
  job: Job;
  /** For the events of a job that somebody else's queue runs. */
  token?: string;
}

/** The REST calls. Each throws a JobcastError whose message can be shown to a person. */
export class Api {
  constructor(options: { base: string | URL; token: () => string | null; fetch?: typeof fetch });
  readonly base: string;
  /** Queues a job; repeated with the same key when its answer is lost. */
  enqueue(job: NewJob, options?: { idempotencyKey?: string }): Promise<Queued>;
  job(id: string): Promise<Job>;
  /** The job once it has ended, through outages of the hub. */
  wait(id: string, options?: { signal?: AbortSignal }): Promise<Job>;
  /** A page of a session's jobs, newest first. */
  jobs(sessionId: string, options?: { cursor?: string | null; limit?: number }): Promise<{ jobs: Job[]; more: string | null }>;
  cancel(id: string): Promise<Job>;
  answer(id: string, answer: { input_id: string; value: Json }): Promise<{ status: JobStatus }>;
  /** A new job that does the same. */
  retry(id: string): Promise<Queued>;
  /** Log lines after a number. */
  logs(id: string, options?: { after?: number; limit?: number }): Promise<(LogLine & { line: number })[]>;
  /** All of a log that is kept, as text. */
  logText(id: string): Promise<Blob>;
  /** Messages before a cursor, oldest first. */
  messages(sessionId: string, options?: { before?: string | null; limit?: number }): Promise<{ messages: Message[]; more: string | null }>;
  /** The person speaks; again with the same `message_id` is once. */
  say(sessionId: string, message: { text: string; message_id?: string }): Promise<{ message_id: string }>;
  /** Takes a sign-in code. */
  exchange(code: string): Promise<{ token: string; expires_at: string; sessions: string[] }>;
  renew(): Promise<{ token: string; expires_at: string }>;
  /** Sessions that there are (scope `admin`). */
  sessions(): Promise<object>;
}

/** A problem (RFC 9457), a close code, or a lost connection. */
export class JobcastError extends Error {
  constructor(problem?: { status?: number; code?: string | number; title?: string; detail?: string; errors?: { pointer?: string; detail?: string }[] });
  /** The HTTP status; 0 when there was no answer. */
  readonly status: number;
  readonly code: string | number | undefined;
  readonly title: string | undefined;
  readonly detail: string | undefined;
  readonly errors: { pointer?: string; detail?: string }[];
  /** Whether the same call may work later, unchanged. */
  readonly passing: boolean;
}

export const TERMINAL: ReadonlySet<string>;
export function initialState(): SessionState;
/** Takes a frame of the hub into a state; pure and idempotent. */
export function reduce(state: SessionState, frame: object): Outcome;
export function logOf(state: SessionState, jobId: string): Log;
/** Which of the last lines are not held, as inclusive ranges. */
export function missingLines(log: Log, tail?: number): { from: number; to: number }[];
