/** A hub made of one fake socket class and one fake fetch, for specs that play the hub's part. */

import { Jobcast } from "/assets/jobcast.js";
import { equal } from "./harness.js";

export const SID = "chat:main";
export const T = "2026-11-23T19:20:31.042Z";

/** What a test plays on: the client, its sockets and calls, and the events that it gave. */
export function stage({ answers = {}, ...options } = {}) {
  const sockets = [];
  class FakeSocket {
    constructor(url, protocols) {
      Object.assign(this, { url, protocols, readyState: 0, sent: [] });
      sockets.push(this);
    }
    send(text) { this.sent.push(JSON.parse(text)); }
    close() { this.readyState = 3; }
    accept() { this.readyState = 1; this.onopen(); }
    say(frame) { this.onmessage?.({ data: JSON.stringify(frame) }); }
    end(code) { this.readyState = 3; this.onclose?.({ code }); }
    last(type) { return this.sent.filter((f) => f.type === type).at(-1); }
    count(type) { return this.sent.filter((f) => f.type === type).length; }
  }
  const calls = [];
  const fetch = async (url, { method, headers, body }) => {
    const path = `${method} ${new URL(url).pathname.slice(1)}`;
    calls.push({ path, auth: headers.Authorization, body: body && JSON.parse(body) });
    const answer = answers[path];
    const value = typeof answer === "function" ? await answer() : answer;
    if (value === undefined) return new Response(JSON.stringify({ title: "Not found", status: 404 }), { status: 404 });
    if (value instanceof Response) return value;
    return new Response(JSON.stringify(value));
  };
  const jobcast = new Jobcast({ base: "http://hub.test/", token: "t0", WebSocket: FakeSocket, fallback: null, fetch, random: () => 0, ...options });
  const seen = [];
  for (const type of ["change", "connection", "token", "refused"]) {
    jobcast.addEventListener(type, ({ detail }) => seen.push([type, type === "connection" ? jobcast.connection.status : detail]));
  }
  return { jobcast, sockets, calls, seen };
}

export const hello = (socket, fields = {}) => socket.say({
  type: "hello", ref: socket.last("subscribe").ref, session_id: SID, cursor: "0-0", resumed: false, jobs: [], more: null, messages: [], time: T, ...fields,
});
export const event = (cursor, rev, data, id = "j1") => ({ id: cursor, type: `job.${data.status}`, session_id: SID, job_id: id, rev, time: T, data });
export const born = event("1-1", 1, { id: "j1", session_id: SID, task: "t", status: "pending", rev: 1 });

export async function online(options) {
  const s = stage(options);
  s.jobcast.open(SID);
  s.sockets[0].accept();
  hello(s.sockets[0]);
  equal(s.jobcast.connection.status, "online");
  return s;
}
