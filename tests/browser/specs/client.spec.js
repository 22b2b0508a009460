import { equal, ok, until } from "./harness.js";
import { SID, T, born, event, hello, online, stage } from "./stage.js";

export async function it_signs_in_by_subprotocol_and_subscribes() {
  const { jobcast, sockets } = await online();
  equal(sockets[0].url, "ws://hub.test/ws");
  equal(sockets[0].protocols, ["jobcast.v1", "bearer.t0"]);
  equal(sockets[0].last("subscribe").session_id, SID);
  ok(!("after" in sockets[0].last("subscribe")), "there is nothing to resume yet");
  jobcast.destroy();
}

export async function after_a_break_it_resumes_at_its_cursor() {
  const { jobcast, sockets } = await online();
  sockets[0].say(born);
  sockets[0].end(1006);
  equal(jobcast.connection.status, "waiting");
  await until(() => sockets.length === 2, "a second socket");
  sockets[1].accept();
  equal(sockets[1].last("subscribe").after, "1-1");
  hello(sockets[1], { resumed: true, cursor: "1-1" });
  sockets[1].say(event("2-2", 2, { status: "running" }));
  equal(jobcast.state(SID).jobs.get("j1").status, "running");
  jobcast.destroy();
}

export async function an_unequal_heartbeat_asks_again_and_an_equal_one_does_not() {
  const { jobcast, sockets: [socket] } = await online();
  socket.say(born);
  socket.say({ type: "heartbeat", cursors: { [SID]: "1-1", "chat:other": "9-9" }, time: T });
  equal(socket.count("subscribe"), 1);
  socket.say({ type: "heartbeat", cursors: { [SID]: "2-2" }, time: T });
  equal(socket.count("subscribe"), 2);
  equal(socket.last("subscribe").after, "1-1");
  socket.say({ type: "heartbeat", cursors: { [SID]: "2-2" }, time: T });
  equal(socket.count("subscribe"), 2, "one question at a time");
  jobcast.destroy();
}

export async function goodbye_says_when_to_come_back() {
  const { jobcast, sockets: [socket] } = await online();
  const before = Date.now();
  socket.say({ type: "goodbye", code: 1001, reconnect_after: 7 });
  socket.end(1001);
  const wait = jobcast.connection.retryAt - before;
  ok(wait >= 6900 && wait <= 9000, `it waits as told, not ${wait} ms`);
  jobcast.destroy();
}

export async function waits_grow_with_full_jitter_up_to_twenty_seconds() {
  const { jobcast, sockets } = stage({ random: () => 0.999 });
  jobcast.open(SID);
  const waits = [];
  for (let n = 0; n < 9; n += 1) {
    const before = Date.now();
    sockets.at(-1).end(1006);
    waits.push(Math.round((jobcast.connection.retryAt - before) / 100) / 10);
    jobcast.retryNow();
  }
  equal(waits, [0.5, 1, 2, 4, 8, 16, 20, 20, 20]);
  jobcast.destroy();
}

export async function it_tries_at_once_when_the_network_returns() {
  const { jobcast, sockets } = stage({ random: () => 0.999 });
  jobcast.open(SID);
  for (let n = 0; n < 6; n += 1) {
    sockets.at(-1).end(1006);
    jobcast.retryNow();
  }
  sockets.at(-1).end(1006);
  const tried = sockets.length;
  globalThis.dispatchEvent(new Event("online"));
  equal(sockets.length, tried + 1);
  jobcast.destroy();
}

export async function codes_of_44xx_do_not_come_back() {
  for (const code of [4400, 4403, 4410]) {
    const { jobcast, sockets } = await online();
    sockets[0].end(code);
    equal([jobcast.connection.status, jobcast.connection.code], ["closed", code]);
    jobcast.destroy();
  }
  for (const code of [1001, 1006, 1011, 4008, 4009, 4010]) {
    const { jobcast, sockets } = await online();
    sockets[0].end(code);
    equal(jobcast.connection.status, "waiting", String(code));
    jobcast.destroy();
  }
}

export async function a_refused_token_is_renewed_and_it_comes_back() {
  const { jobcast, sockets, calls, seen } = await online({ answers: { "POST tokens": { token: "t1", expires_at: "2099-01-01T00:00:00.000Z" } } });
  sockets[0].end(4401);
  await until(() => sockets.length === 2, "a socket with the new token");
  equal(sockets[1].protocols[1], "bearer.t1");
  equal(calls[0], { path: "POST tokens", auth: "Bearer t0", body: {} });
  ok(seen.some(([type, detail]) => type === "token" && detail.token === "t1"), "the page is told, to store it");
  jobcast.destroy();
}

export async function a_token_past_renewing_is_asked_of_the_page() {
  const gone = () => new Response('{"status":401,"title":"Unauthorized"}', { status: 401 });
  const { jobcast, sockets } = await online({ answers: { "POST tokens": gone }, getToken: async () => ({ token: "t2" }) });
  sockets[0].end(4401);
  await until(() => sockets.length === 2, "a socket with the page's token");
  equal(sockets[1].protocols[1], "bearer.t2");
  jobcast.destroy();
  const signedOut = await online({ answers: { "POST tokens": gone } });
  signedOut.sockets[0].end(4401);
  await until(() => signedOut.jobcast.connection.status === "closed", "without one it is closed");
  equal(signedOut.jobcast.connection.code, 4401);
  equal(signedOut.sockets.length, 1);
  signedOut.jobcast.destroy();
}

export async function a_token_is_renewed_before_it_ends_on_the_open_socket() {
  const soon = new Date(Date.now() + 30_000).toISOString();
  const { jobcast, sockets: [socket], calls } = await online({ expiresAt: soon, answers: { "POST tokens": { token: "t1", expires_at: "2099-01-01T00:00:00.000Z" } } });
  socket.say({ type: "heartbeat", cursors: {}, time: new Date().toISOString() });
  await until(() => socket.count("auth") === 1, "auth on the open socket");
  equal(socket.last("auth").token, "t1");
  equal(calls.length, 1);
  jobcast.destroy();
}

export async function commands_are_answered_by_ref() {
  const { jobcast, sockets: [socket] } = await online();
  const done = jobcast.cancel("j1");
  const refused = jobcast.input("j1", "q1", "yes").catch((error) => error);
  const { ref } = socket.last("cancel");
  const asked = socket.last("input");
  equal([asked.job_id, asked.input_id, asked.value], ["j1", "q1", "yes"]);
  socket.say({ type: "error", ref: asked.ref, code: "conflict", status: 409, title: "Conflict", detail: "Another question is asked now" });
  socket.say({ type: "ok", ref, job_id: "j1" });
  equal((await done).job_id, "j1");
  const error = await refused;
  equal([error.status, error.message], [409, "Another question is asked now."]);
  jobcast.destroy();
}

export async function a_command_cut_off_is_sent_again() {
  const { jobcast, sockets } = await online();
  const done = jobcast.cancel("j1");
  sockets[0].end(1006);
  await until(() => sockets.length === 2, "a second socket");
  sockets[1].accept();
  sockets[1].say({ type: "ok", ref: sockets[1].last("cancel").ref });
  equal((await done).type, "ok");
  jobcast.destroy();
}

export async function a_job_not_held_is_fetched_and_again_when_told_of_meanwhile() {
  let rev = 4;
  let release;
  const gate = new Promise((resolve) => { release = resolve; });
  const { jobcast, sockets: [socket], calls } = await online({
    answers: { "GET jobs/j9": async () => { const mine = rev; await gate; return { id: "j9", status: "running", rev: mine }; } },
  });
  socket.say(event("3-3", 4, { status: "running" }, "j9"));
  await until(() => calls.length === 1, "a fetch");
  rev = 5;
  socket.say(event("4-4", 5, { status: "completed" }, "j9"));
  release();
  await until(() => jobcast.state(SID).jobs.get("j9")?.rev === 5, "the newest");
  equal(calls.length, 2);
  equal(jobcast.state(SID).cursor, "4-4");
  jobcast.destroy();
}

export async function one_refused_session_leaves_the_others() {
  const { jobcast, sockets: [socket], seen } = await online();
  jobcast.open("chat:gone");
  const { ref } = socket.last("subscribe");
  socket.say({ type: "error", ref, code: 4403, status: 403, title: "Not your session", session_id: "chat:gone" });
  await until(() => seen.some(([type, detail]) => type === "refused" && detail.sessionId === "chat:gone"), "refused");
  equal(jobcast.state("chat:gone"), null);
  ok(jobcast.state(SID) !== null, "the other is still followed");
  socket.say({ type: "error", code: 4410, status: 410, title: "Session deleted", session_id: SID });
  equal(jobcast.state(SID), null);
  jobcast.destroy();
}

export async function the_hubs_clock_is_taken_over() {
  const { jobcast, sockets: [socket] } = await online();
  const ahead = Date.now() + 3_600_000;
  hello(socket, { time: new Date(ahead).toISOString() });
  ok(Math.abs(jobcast.clock.now() - ahead) < 1000, "an hour ahead");
  socket.say({ type: "heartbeat", cursors: {}, time: new Date(ahead - 5000).toISOString() });
  ok(Math.abs(jobcast.clock.now() - ahead) < 1000, "a frame that was held up does not turn it back");
  jobcast.destroy();
}
