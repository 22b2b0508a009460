import { equal, ok, until } from "./harness.js";
import { SID, T, born, event, hello, stage } from "./stage.js";

/** Reads a subscription into a list until it ends; `reader.done` tells how. */
function reading(jobcast, options) {
  const reader = { events: [], held: null };
  reader.done = (async () => {
    for await (const each of jobcast.subscribe(SID, options)) {
      reader.events.push(each);
      await reader.held;
    }
  })().then(() => null, (error) => error);
  return reader;
}

const names = ({ events }) => events.map(({ type, id }) => [type, id ?? null].filter(Boolean).join(" "));
const turn = () => new Promise((done) => setTimeout(done));

async function subscribed(options, stageOptions) {
  const s = stage(stageOptions);
  const reader = reading(s.jobcast, options);
  await turn();
  s.sockets[0].accept();
  return { ...s, reader };
}

export async function events_are_read_in_a_loop_from_the_hello_on() {
  const { jobcast, sockets: [socket], reader } = await subscribed();
  hello(socket);
  socket.say(born);
  socket.say({ type: "job.progress", session_id: SID, job_id: "j1", rev: 2, time: T, data: { progress: { percent: 1 } } });
  await turn();
  equal(names(reader), ["hello", "job.pending 1-1", "job.progress"]);
  equal(jobcast.state(SID).jobs.get("j1").progress.percent, 1, "the state is kept, too");
  jobcast.destroy();
  equal(await reader.done, null);
}

export async function what_comes_while_it_asks_again_is_given_once() {
  const { jobcast, sockets: [socket], reader } = await subscribed();
  hello(socket);
  socket.say(born);
  socket.say({ type: "heartbeat", cursors: { [SID]: "3-3" }, time: T });
  socket.say(event("2-2", 2, { status: "running" }));
  hello(socket, { resumed: true, cursor: "1-1" });
  socket.say(event("2-2", 2, { status: "running" }));
  socket.say(event("3-3", 3, { status: "completed" }));
  await turn();
  equal(names(reader), ["hello", "job.pending 1-1", "hello", "job.running 2-2", "job.completed 3-3"]);
  jobcast.destroy();
}

export async function it_goes_on_after_a_cursor_and_after_a_break() {
  const { jobcast, sockets, reader } = await subscribed({ after: "7-7" });
  equal(sockets[0].last("subscribe").after, "7-7");
  hello(sockets[0], { resumed: true, cursor: "7-7" });
  sockets[0].say(event("8-8", 2, { status: "running" }));
  sockets[0].end(1006);
  await until(() => sockets.length === 2, "a second socket");
  sockets[1].accept();
  equal(sockets[1].last("subscribe").after, "8-8");
  jobcast.destroy();
  await reader.done;
}

export async function a_slow_reader_pauses_its_session_and_loses_nothing() {
  const { jobcast, sockets: [socket], reader } = await subscribed();
  let release;
  reader.held = new Promise((done) => { release = done; });
  hello(socket);
  for (let n = 1; n <= 1500; n += 1) socket.say(event(`${n}-1`, n, { status: "running" }));
  equal(socket.count("unsubscribe"), 1, "at the bound it wants no more");
  ok(jobcast.state(SID).cursor !== "1500-1", "what comes then is not taken");
  const cursor = jobcast.state(SID).cursor;
  socket.say({ type: "heartbeat", cursors: { [SID]: "1500-1" }, time: T });
  equal(socket.count("subscribe"), 1, "a heartbeat does not wake it");
  release();
  await until(() => socket.count("subscribe") === 2, "it goes on once all has been read");
  equal(socket.last("subscribe").after, cursor);
  hello(socket, { resumed: true, cursor });
  for (let n = Number(cursor.split("-")[0]) + 1; n <= 1500; n += 1) socket.say(event(`${n}-1`, n, { status: "running" }));
  await until(() => reader.events.at(-1).id === "1500-1", "the last");
  const ids = reader.events.map(({ id }) => id).filter(Boolean);
  equal([ids.length, new Set(ids).size], [1500, 1500]);
  jobcast.destroy();
}

export async function leaving_the_loop_ends_the_subscription() {
  const { jobcast, sockets } = stage();
  const loop = (async () => {
    for await (const each of jobcast.subscribe(SID)) if (each.type === "job.pending") break;
  })();
  await turn();
  sockets[0].accept();
  hello(sockets[0]);
  sockets[0].say(born);
  await loop;
  equal(sockets[0].count("unsubscribe"), 1);
  equal(jobcast.state(SID), null);
  jobcast.destroy();
}

export async function a_signal_ends_it_with_its_reason() {
  const control = new AbortController();
  const { jobcast, sockets: [socket], reader } = await subscribed({ signal: control.signal });
  hello(socket);
  await turn();
  socket.say(born);
  control.abort(new Error("enough"));
  equal((await reader.done).message, "enough");
  equal(names(reader), ["hello"], "what had not been read is not given any more");
  equal(jobcast.state(SID), null);
  jobcast.destroy();
}

export async function what_is_refused_for_good_is_thrown() {
  const one = await subscribed();
  const { ref } = one.sockets[0].last("subscribe");
  one.sockets[0].say({ type: "error", ref, code: 4403, status: 403, title: "Not your session", session_id: SID });
  equal((await one.reader.done).code, 4403);
  one.jobcast.destroy();
  const two = await subscribed({}, { answers: { "POST tokens": () => new Response("{}", { status: 401 }) } });
  two.sockets[0].end(4401);
  const error = await two.reader.done;
  equal([error.code, error.message], [4401, "You are signed out."]);
  two.jobcast.destroy();
}

export async function one_session_has_one_reader() {
  const { jobcast, reader } = await subscribed();
  let error = null;
  await jobcast.subscribe(SID).next().catch((e) => { error = e; });
  ok(error?.message.includes(SID), "a second one is refused");
  ok(jobcast.state(SID) !== null, "and the first is left alone");
  jobcast.destroy();
  await reader.done;
}

export async function listeners_hear_each_event_once_without_a_loop() {
  const { jobcast, sockets } = stage();
  const heard = [];
  jobcast.addEventListener("event", ({ detail }) => heard.push(detail.event.type));
  jobcast.open(SID);
  const [socket] = sockets;
  socket.accept();
  hello(socket);
  socket.say(event("5-5", 5, { status: "completed" }, "j9"));
  equal(heard, ["hello", "job.completed"], "also of a job that is not held yet");
  jobcast.destroy();
}

export async function a_job_is_queued_once_however_often_it_is_sent() {
  let tries = 0;
  const keys = [];
  const fetch = async (url, { headers }) => {
    keys.push(headers["Idempotency-Key"]);
    tries += 1;
    if (tries === 1) throw new TypeError("connection lost");
    return new Response(JSON.stringify({ job_id: "j1", status: "pending", job: {} }), { status: 202 });
  };
  const { jobcast } = stage({ fetch });
  equal((await jobcast.api.enqueue({ task: "t", session_id: SID })).job_id, "j1");
  equal([keys.length, new Set(keys).size, keys[0].length], [2, 1, 32]);
  jobcast.destroy();
}

export async function a_job_is_waited_for_through_an_outage() {
  const looks = [];
  const answers = [{ status: "running" }, null, { status: "completed", result: 7 }];
  const fetch = async (url) => {
    looks.push(url.search);
    const answer = answers.shift();
    if (!answer) throw new TypeError("connection lost");
    return new Response(JSON.stringify(answer));
  };
  const { jobcast } = stage({ fetch });
  equal((await jobcast.api.wait("j1")).result, 7);
  equal(looks, ["", "?wait=50", "?wait=50"]);
  jobcast.destroy();
}

export async function waiting_can_be_given_up() {
  const control = new AbortController();
  const fetch = (url, { signal }) => (url.search
    ? new Promise((_, failed) => signal.addEventListener("abort", () => failed(signal.reason)))
    : Promise.resolve(new Response('{"status":"running"}')));
  const { jobcast } = stage({ fetch });
  const waiting = jobcast.api.wait("j1", { signal: control.signal }).catch((error) => error);
  await turn();
  control.abort(new Error("enough"));
  equal((await waiting).message, "enough");
  jobcast.destroy();
}

export async function an_address_needs_no_slash_at_its_end() {
  const { jobcast, sockets } = stage({ base: "https://hub.test/deep/jobs" });
  equal(jobcast.api.base, "https://hub.test/deep/jobs/");
  jobcast.open(SID);
  equal(sockets[0].url, "wss://hub.test/deep/jobs/ws");
  jobcast.destroy();
}
