import { Jobcast } from "/assets/jobcast.js";
import { SseSocket } from "/assets/sse.js";
import { equal, ok, until } from "./harness.js";

const SID = "chat:main";

function stage(answers = {}) {
  const streams = [];
  class FakeEventSource {
    constructor(url) {
      this.url = new URL(url);
      streams.push(this);
    }
    close() { this.closed = true; }
    say(frame) { this.onmessage({ data: JSON.stringify(frame) }); }
  }
  const calls = [];
  const fetch = async (url, { method, headers, body }) => {
    calls.push([method, new URL(url).pathname, headers.Authorization, JSON.parse(body ?? "null")]);
    const [status, value] = answers[new URL(url).pathname] ?? [200, {}];
    return new Response(JSON.stringify(value), { status });
  };
  const parts = { EventSource: FakeEventSource, fetch };
  class Fallback extends SseSocket {
    constructor(url, protocols) { super(url, protocols, parts); }
  }
  return { streams, calls, Fallback, parts };
}

async function opened(answers) {
  const s = stage(answers);
  const socket = new SseSocket("wss://hub.test/deep/ws", ["jobcast.v1", "bearer.t0"], s.parts);
  const frames = [];
  const closes = [];
  socket.onmessage = ({ data }) => frames.push(JSON.parse(data));
  socket.onclose = ({ code }) => closes.push(code);
  await until(() => socket.readyState === 1, "open");
  return { ...s, socket, frames, closes, send: (frame) => socket.send(JSON.stringify(frame)) };
}

export async function a_subscription_is_a_stream_of_the_session() {
  const { send, streams, frames } = await opened();
  send({ type: "subscribe", session_id: SID, after: "3-33", ref: "1" });
  const { url } = streams[0];
  equal([url.origin, url.pathname], ["https://hub.test", "/deep/sessions/chat%3Amain/events"]);
  equal([url.searchParams.get("after"), url.searchParams.get("token")], ["3-33", "t0"]);
  streams[0].say({ type: "hello", session_id: SID, cursor: "3-33", resumed: true });
  equal(frames, [{ type: "hello", session_id: SID, cursor: "3-33", resumed: true, ref: "1" }]);
  send({ type: "subscribe", session_id: SID, ref: "2" });
  ok(streams[0].closed, "a second subscribe repositions");
  ok(!streams[1].url.searchParams.has("after"), "without a cursor it starts anew");
}

export async function goodbye_closes_with_its_code() {
  const { send, streams, frames, closes } = await opened();
  send({ type: "subscribe", session_id: SID, ref: "1" });
  streams[0].say({ type: "goodbye", code: 4401, reconnect_after: 1 });
  equal([frames.at(-1).type, closes], ["goodbye", [4401]]);
  ok(streams[0].closed, "the stream is closed, or it would come back by itself");
}

export async function a_broken_stream_is_a_lost_connection() {
  const { send, streams, closes } = await opened();
  send({ type: "subscribe", session_id: SID, ref: "1" });
  streams[0].onerror();
  streams[0].onerror();
  equal(closes, [1006]);
}

export async function commands_go_by_http() {
  const { send, calls, frames } = await opened({ "/deep/jobs/j2/input": [409, { title: "Conflict", status: 409 }] });
  send({ type: "auth", token: "t1", ref: "1" });
  send({ type: "cancel", job_id: "j1", ref: "2" });
  send({ type: "input", job_id: "j2", input_id: "q", value: "yes", ref: "3" });
  await until(() => frames.length === 3, "three answers");
  const byRef = Object.fromEntries(frames.map((f) => [f.ref, f]));
  equal([byRef[1].type, byRef[2].type, byRef[3].type, byRef[3].status], ["ok", "ok", "error", 409]);
  ok(calls.some(([, path]) => path === "/deep/jobs/j1/cancel"), "cancel");
  equal(calls.at(-1)[3], { input_id: "q", value: "yes" });
}

export async function where_no_websocket_gets_through_events_come_by_streams() {
  const { streams, Fallback, parts } = stage();
  let tried = 0;
  class Blocked {
    constructor() {
      tried += 1;
      queueMicrotask(() => this.onclose?.({ code: 1006 }));
    }
    close() {}
  }
  const jobcast = new Jobcast({ base: "http://hub.test/", token: "t0", WebSocket: Blocked, fallback: Fallback, fetch: parts.fetch, random: () => 0 });
  jobcast.open(SID);
  await until(() => streams.length === 1, "a stream");
  equal(tried, 3);
  streams[0].say({ type: "hello", session_id: SID, cursor: "0-0", resumed: false, jobs: [], messages: [], time: "2026-11-23T19:20:31.042Z" });
  await until(() => jobcast.connection.status === "online", "online");
  streams[0].say({ id: "1-1", type: "job.pending", session_id: SID, job_id: "j1", rev: 1, data: { id: "j1", status: "pending" } });
  equal(jobcast.state(SID).jobs.get("j1").status, "pending");
  jobcast.destroy();
}
