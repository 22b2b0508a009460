import { actions, brief, duration, elapsed, eta, heldBack, label, progress, scheduleOf, stalled, statusWord } from "/assets/format.js";
import { equal } from "./harness.js";

const T0 = Date.parse("2026-11-23T19:20:30.000Z");
const at = (seconds) => new Date(T0 + seconds * 1000).toISOString();

export function durations() {
  equal([0, 0.9, 4.21, 42, 185, 7440, 180_000].map((s) => duration(s)), ["<1s", "<1s", "4s", "42s", "3m 5s", "2h 4m", "2d 2h"]);
  equal([0.4, 4.21, 9.96, 59.7].map((s) => duration(s, true)), ["<1s", "4.2s", "10s", "1m 0s"]);
  equal(duration(NaN), "<1s");
  equal(duration(-5), "<1s");
}

export function time_is_told_by_status() {
  equal(elapsed({ status: "pending", created_at: at(0) }, T0 + 12_000).text, "waiting 12s");
  equal(elapsed({ status: "pending", created_at: at(0), run_at: at(60) }, T0).text, "starts in 1m 0s");
  equal(elapsed({ status: "running", created_at: at(0), started_at: at(2) }, T0 + 7_000).text, "5s");
  equal(elapsed({ status: "retrying", created_at: at(0), run_at: at(30) }, T0).text, "again in 30s");
  equal(elapsed({ status: "completed", created_at: at(0), started_at: at(2), finished_at: at(6.2) }, T0 + 99_000), { text: "4.2s", live: false });
  equal(elapsed({ status: "cancelled", created_at: at(0), finished_at: at(3) }, T0).text, "3.0s", "never started");
}

export function progress_claims_no_more_than_it_knows() {
  equal(progress({}), { value: null, figures: "", message: "" });
  equal(progress({ progress: { current: 23, total: 47, percent: 48.9, message: "x" } }), { value: 23 / 47, figures: "23 of 47", message: "x" });
  equal(progress({ progress: { percent: 48.9 } }), { value: 0.489, figures: "48 %", message: "" });
  equal(progress({ progress: { current: 1234 } }), { value: null, figures: "1,234", message: "" });
  equal(progress({ progress: { current: 9, total: 0 } }).value, null);
  equal(progress({ progress: { percent: 120 } }).value, 1);
}

export function an_estimate_needs_five_percent() {
  const job = (percent, status = "running") => ({ status, started_at: at(0), updated_at: at(10), progress: { percent } });
  equal(eta(job(4), T0 + 10_000), "");
  equal(eta(job(50), T0 + 10_000), "~10s left");
  equal(eta(job(50), T0 + 14_000), "~6s left", "it counts down between reports");
  equal(eta(job(50), T0 + 60_000), "~1s left");
  equal(eta(job(100), T0 + 10_000), "");
  equal(eta(job(50, "cancelling"), T0 + 10_000), "");
  equal(eta({ status: "running", started_at: at(0), progress: null }, T0), "");
  equal(stalled({ status: "running", stalled_since: at(0) }, T0 + 65_000), "no sign of life for 1m 5s");
  equal(stalled({ status: "running", stalled_since: null }, T0), "");
  equal(stalled({ status: "completed", stalled_since: at(0) }, T0), "");
}

export function buttons_follow_the_status() {
  const can = (status, more = {}) => Object.entries(actions({ status, ...more })).filter(([, yes]) => yes).map(([name]) => name).join(" ");
  equal(["pending", "running", "retrying"].map((s) => can(s)), ["cancel", "cancel", "cancel"]);
  equal(can("input_required", { input: {} }), "cancel answer");
  equal(can("cancelling"), "cancelling");
  equal(["completed", "failed", "cancelled"].map((s) => can(s)), ["retry", "retry", "retry"]);
  equal(can("failed", { retried_by: "x" }), "");
  equal(can("failed", { queue: null }), "");
  equal(can("failed", { queue: "default" }), "retry");
}

export function words() {
  equal(statusWord({ status: "input_required", input: { kind: "confirm" } }), "Approval needed");
  equal(statusWord({ status: "input_required", input: { kind: "question" } }), "Needs an answer");
  equal(statusWord({ status: "something" }), "something");
  equal(label("tests_passed"), "Tests passed");
  equal(label("archivePath"), "Archive Path");
  equal(brief("a  b\nc"), "a b c");
  equal(brief("x".repeat(60)).length, 48);
}

export function what_holds_a_job_back() {
  equal(heldBack({ parked: "limit:task:deploy" }), "waits for the limit of its task");
  equal(heldBack({ parked: "limit:session:s1" }), "waits for the limit of its session");
  equal(heldBack({ parked: "limit:key:s1/db:main" }), "waits for the limit s1/db:main");
  equal(heldBack({ parked: "limit:key:sha256:0123" }), "waits for a limit");
  equal(heldBack({ parked: "task:sweep" }), "waits for a worker that has this task");
  equal([heldBack({}), heldBack({ parked: null }), heldBack({ parked: "foreign" })], ["", "", ""]);
}

export function a_schedule_is_known_by_its_firing() {
  equal(scheduleOf({ metadata: { schedule: "nightly", due_at: "2026-11-23T00:00:00.000Z" } }), "nightly");
  equal([scheduleOf({}), scheduleOf({ metadata: null }), scheduleOf({ metadata: { schedule: "mine" } })], ["", "", ""]);
}
