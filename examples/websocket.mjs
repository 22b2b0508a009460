// Follows a session over a WebSocket, without Jobcast's client: all there is to the protocol.
//
//     JOBCAST_URL=http://127.0.0.1:8080 JOBCAST_TOKEN=… node websocket.mjs SESSION
//
// Node >= 22 has a WebSocket; before that: npm install ws. The token is one of `jobcast token`, or an API key.

import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket;
const hub = new URL(process.env.JOBCAST_URL ?? "http://127.0.0.1:8080");
const token = process.env.JOBCAST_TOKEN;
const session = process.argv[2];

const jobs = new Map();
let cursor = null;
let failures = 0;

for (;;) {
  const { code, comeBackAfter } = await connection();
  // 4400 to 4499: coming back is no use before the cause is mended.
  if (code >= 4400 && code < 4500) {
    console.error(`refused: ${code}`);
    process.exit(1);
  }
  failures += 1;
  await sleep(1000 * (comeBackAfter ?? Math.random() * Math.min(20, 0.5 * 2 ** failures)));
}

/** One connection, from its start to its end. */
function connection() {
  const url = new URL(`ws/${encodeURIComponent(session)}`, hub);
  url.protocol = hub.protocol === "https:" ? "wss:" : "ws:";
  if (cursor !== null) url.searchParams.set("after", cursor);
  const socket = new WebSocket(url, ["jobcast.v1", `bearer.${token}`]);
  let comeBackAfter = null;
  // The hub speaks every 20 s: silence means that nobody is there any more.
  let silence = setTimeout(() => socket.close(), 45_000);
  let asking = false;

  return new Promise((ended) => {
    socket.onclose = ({ code }) => {
      clearTimeout(silence);
      ended({ code, comeBackAfter });
    };
    socket.onerror = () => {}; // the close follows
    socket.onmessage = ({ data }) => {
      silence.refresh();
      const frame = JSON.parse(data);
      if (frame.type === "goodbye") comeBackAfter = frame.reconnect_after;
      if (frame.type === "hello") {
        asking = false;
        failures = 0;
        // Not resumed: this is the whole picture. Resumed: all since the cursor follows.
        if (!frame.resumed) jobs.clear();
        cursor = frame.cursor;
        for (const job of frame.jobs) take(job.id, job.rev, job);
      }
      // A heartbeat comes after all that it covers: with another cursor something was lost on the way.
      if (frame.type === "heartbeat" && (frame.cursors[session] ?? cursor) !== cursor && !asking) {
        asking = true;
        socket.send(JSON.stringify({ type: "subscribe", session_id: session, after: cursor }));
      }
      // What comes before the answer to that will come again after it.
      if (frame.id && !asking) cursor = frame.id;
      if (frame.job_id && frame.rev) take(frame.job_id, frame.rev, frame.data);
      if (frame.type === "job.log") for (const { text } of frame.data.lines) console.log(`${frame.job_id}  | ${text}`);
    };
  });
}

/** The whole reducer: what is not newer than the job we hold is old news. */
function take(id, rev, data) {
  const job = jobs.get(id) ?? { rev: 0 };
  if (rev <= job.rev) return;
  jobs.set(id, Object.assign(job, data, { rev }));
  const { current, total } = job.progress ?? {};
  console.log(`${id}  ${job.status}${total ? ` ${current} of ${total}` : ""}`);
}
