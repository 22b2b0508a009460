import { LOG_KEPT, initialState, logOf, missingLines, reduce } from "/assets/reducer.js";
import { equal, ok, seeded } from "./harness.js";

const SID = "chat:main";
const T = "2026-11-23T19:20:31.042Z";

const job = (rev, changes = {}) => ({
  id: "j1", session_id: SID, task: "run_tests", status: "pending", rev, attempt: 1, log_lines: 0, created_at: T, ...changes,
});
const event = (cursor, type, rev, data, id = "j1") => ({ id: cursor, type, session_id: SID, job_id: id, rev, time: T, data });
const log = (line, ...texts) => ({
  type: "job.log", line, session_id: SID, job_id: "j1", time: T, data: { lines: texts.map((text) => ({ stream: "stdout", text })) },
});
const hello = (fields = {}) => ({
  type: "hello", session_id: SID, cursor: "0-0", resumed: false, jobs: [], more: null, messages: [], time: T, ...fields,
});
const play = (frames, state = initialState()) => frames.reduce((s, frame) => reduce(s, frame).state, state);
const texts = (state) => logOf(state, "j1").lines.map((line) => line?.text ?? null);

const LIFE = [
  event("1-11", "job.pending", 1, job(1)),
  event("2-22", "job.running", 2, { status: "running", started_at: T, progress: null, log_lines: 0 }),
  { type: "job.progress", session_id: SID, job_id: "j1", rev: 3, time: T, data: { progress: { current: 1, total: 3 } } },
  log(1, "one", "two"),
  { type: "job.progress", session_id: SID, job_id: "j1", rev: 4, time: T, data: { progress: { current: 2, total: 3 } } },
  log(3, "three"),
  event("3-33", "job.completed", 5, { status: "completed", finished_at: T, result: { passed: 3 }, progress: { current: 3, total: 3 }, log_lines: 3 }),
];

export function a_life_ends_as_its_last_event_says() {
  const state = play(LIFE);
  equal(state.jobs.get("j1").status, "completed");
  equal(state.jobs.get("j1").started_at, T, "fields that an event leaves out stay");
  equal(state.jobs.get("j1").progress, { current: 3, total: 3 });
  equal(texts(state), ["one", "two", "three"]);
  equal(state.cursor, "3-33");
}

export function every_event_twice_is_as_good_as_once() {
  const twice = LIFE.flatMap((frame) => [frame, frame]);
  equal(play(twice), play(LIFE));
  equal(play([...LIFE, ...LIFE]), play(LIFE), "a whole replay");
}

export function old_news_among_new_changes_nothing() {
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = seeded(seed);
    const frames = [];
    LIFE.forEach((frame, i) => {
      frames.push(frame);
      while (random() < 0.5) frames.push(LIFE[Math.floor(random() * (i + 1))]);
    });
    const state = play(frames);
    equal({ ...state, cursor: null }, { ...play(LIFE), cursor: null }, `seed ${seed}`);
  }
}

export function any_order_ends_at_the_highest_rev_with_all_the_lines() {
  let so_far = {};
  const whole = LIFE.map((frame) => {
    if (!frame.rev) return frame;
    so_far = { ...so_far, ...frame.data };
    return { ...frame, data: so_far };
  });
  const wanted = play(whole).jobs.get("j1");
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = seeded(seed);
    const frames = whole.slice(1).sort(() => random() - 0.5).flatMap((frame) => (random() < 0.3 ? [frame, frame] : [frame]));
    const state = play([whole[0], ...frames]);
    equal(state.jobs.get("j1"), wanted, `seed ${seed}`);
    equal(texts(state), ["one", "two", "three"], `seed ${seed}`);
  }
}

export function a_state_is_never_modified() {
  let state = initialState();
  for (const frame of [hello(), ...LIFE, { type: "message.agent", id: "4-44", session_id: SID, time: T, data: { message_id: "m", text: "x" } }]) {
    const copy = structuredClone(state);
    const next = reduce(state, frame).state;
    equal(state, copy, frame.type);
    state = next;
  }
}

export function a_job_not_held_is_needed_unless_it_is_born() {
  const { state, need } = reduce(initialState(), LIFE[1]);
  equal(need, ["j1"]);
  equal(state.jobs.size, 0);
  equal(state.cursor, "2-22", "the position moves on: the job is fetched whole");
  equal(reduce(initialState(), log(1, "x")).need, ["j1"]);
  equal(reduce(initialState(), LIFE[2]).need, ["j1"]);
  equal(reduce(initialState(), LIFE[0]).need, []);
}

export function what_was_fetched_obeys_the_rev_rule() {
  const held = play(LIFE);
  const older = reduce(held, { type: "fetched.job", job: job(2, { status: "running" }) }).state;
  equal(older.jobs.get("j1").status, "completed");
  const newer = reduce(play(LIFE.slice(0, 2)), { type: "fetched.job", job: job(9, { status: "failed", log_lines: 2 }) }).state;
  equal(newer.jobs.get("j1").status, "failed");
  equal(missingLines(logOf(newer, "j1")), [{ from: 1, to: 2 }]);
}

export function what_was_left_out_comes_with_the_fetch() {
  const cut = play([event("1-1", "job.pending", 1, job(1)), event("2-2", "job.completed", 2, { status: "completed", result: null, result_truncated: true })]);
  const whole = reduce(cut, { type: "fetched.job", job: job(2, { status: "completed", result: { big: 1 } }) }).state;
  equal(whole.jobs.get("j1").result, { big: 1 });
  const again = reduce(whole, hello({ cursor: "2-2", jobs: [job(2, { status: "completed", result_truncated: true })] })).state;
  equal(again.jobs.get("j1").result, { big: 1 }, "a snapshot of the same rev takes nothing away");
}

export function a_snapshot_replaces_and_a_resume_adds() {
  const before = play([...LIFE, event("4-4", "job.pending", 1, { ...job(1), id: "gone" }, "gone")]);
  const resumed = reduce(before, hello({ resumed: true, cursor: "3-33", jobs: [{ ...job(2), id: "j2" }] })).state;
  equal([...resumed.jobs.keys()], ["j1", "gone", "j2"]);
  equal(resumed.cursor, "3-33", "the position after hello alone is where we asked to resume");
  const replaced = reduce(before, hello({ cursor: "9-9", jobs: [job(2, { status: "running" })] })).state;
  equal([...replaced.jobs.keys()], ["j1"]);
  equal(replaced.jobs.get("j1").status, "running", "even back to an older rev: the server was restored");
  equal(replaced.cursor, "9-9");
}

export function a_snapshot_keeps_the_lines_that_still_exist() {
  const kept = reduce(play(LIFE), hello({ jobs: [job(5, { log_lines: 5 })] })).state;
  equal(texts(kept).slice(0, 3), ["one", "two", "three"]);
  equal(missingLines(logOf(kept, "j1")), [{ from: 4, to: 5 }]);
  const shorter = reduce(play(LIFE), hello({ jobs: [job(5, { log_lines: 2 })] })).state;
  equal(texts(shorter), [], "a shorter log is another log");
}

export function lines_in_any_order_and_with_holes() {
  const born = play([LIFE[0]]);
  const state = play([log(5, "five"), log(1, "one"), log(5, "five")], born);
  equal(texts(state), ["one", null, null, null, "five"]);
  equal(missingLines(logOf(state, "j1")), [{ from: 2, to: 4 }]);
  const filled = reduce(state, { type: "fetched.logs", job_id: "j1", lines: [2, 3, 4].map((n) => ({ line: n, stream: "stdout", text: `${n}` })) }).state;
  equal(texts(filled), ["one", "2", "3", "4", "five"]);
  equal(missingLines(logOf(filled, "j1")), []);
}

export function a_gap_makes_known_what_was_skipped() {
  const state = play([LIFE[0], log(1, "one"), { type: "job.log_gap", session_id: SID, job_id: "j1", data: { from: 2, to: 9 } }]);
  equal(missingLines(logOf(state, "j1")), [{ from: 2, to: 9 }]);
  equal(missingLines(logOf(state, "j1"), 3), [{ from: 7, to: 9 }], "only the tail that matters");
}

export function a_log_keeps_its_tail() {
  let state = play([LIFE[0]]);
  for (let n = 1; n <= LOG_KEPT + 50; n += 10) {
    state = reduce(state, log(n, ...Array.from({ length: 10 }, (_, i) => `${n + i}`))).state;
  }
  const held = logOf(state, "j1");
  equal([held.from, held.lines.length, held.last], [51, LOG_KEPT, LOG_KEPT + 50]);
  equal(held.lines[0].text, "51");
  const old = reduce(state, log(1, "1")).state;
  equal(logOf(old, "j1").from, 51, "a line older than the tail does not come back");
}

const said = (cursor, id, text, role = "agent") => ({
  id: cursor, type: `message.${role}`, session_id: SID, time: T, data: { message_id: id, role, text, job_id: null },
});
const writing = (id, text) => ({ type: "message.partial", session_id: SID, time: T, data: { message_id: id, text } });

export function a_message_is_one_however_often_it_comes() {
  const state = play([said("1-1", "m1", "hello", "user"), said("1-1", "m1", "hello", "user")]);
  equal(state.messages.size, 1);
  equal(state.messages.get("m1").role, "user");
  equal(state.cursor, "1-1");
}

export function a_message_being_written_becomes_the_whole_one() {
  const partial = play([writing("m1", "Hel"), writing("m1", "Hello w")]);
  equal([partial.messages.get("m1").text, partial.messages.get("m1").partial], ["Hello w", true]);
  const whole = play([said("1-1", "m1", "Hello world")], partial);
  equal(whole.messages.get("m1").text, "Hello world");
  ok(!whole.messages.get("m1").partial, "it is whole");
  equal(play([writing("m1", "Hel")], whole), whole, "a late part changes nothing");
}

export function older_messages_go_in_front() {
  const state = play([said("5-5", "m5", "five")]);
  const page = { type: "fetched.messages", messages: [{ message_id: "m1", role: "user", text: "one", time: T }, { message_id: "m5", role: "agent", text: "five", time: T }] };
  equal([...reduce(state, page).state.messages.keys()], ["m1", "m5"]);
}

export function a_retry_is_noted_on_the_old_job_in_either_order() {
  const retry = event("9-9", "job.pending", 1, { ...job(1), id: "j2", retry_of: "j1" }, "j2");
  equal(play([...LIFE, retry]).jobs.get("j1").retried_by, "j2");
  const late = reduce(play([retry]), { type: "fetched.job", job: job(5, { status: "failed" }) }).state;
  equal(late.jobs.get("j1").retried_by, "j2");
}

export function a_cleared_field_is_null_and_an_absent_one_stays() {
  const asked = play([event("1-1", "job.input_required", 1, job(1, { status: "input_required", input: { id: "q" }, title: "T" }))]);
  const answered = reduce(asked, event("2-2", "job.pending", 2, { status: "pending", input: null })).state;
  equal(answered.jobs.get("j1").input, null);
  equal(answered.jobs.get("j1").title, "T");
}

export function what_is_unknown_is_ignored() {
  const state = play(LIFE);
  for (const frame of [{ type: "pong" }, { type: "something.new", id: "7-7" }, {}]) equal(reduce(state, frame).state, state);
}
