// Queues a job and follows it to its end: the npm package jobcast, in TypeScript.
//
//     npm install jobcast ws
//     JOBCAST_URL=http://127.0.0.1:8080 JOBCAST_API_KEY=$(cat .jobcast/api-key) node follow.ts report
//
// (Node >= 22.18 runs TypeScript; before that, compile it. ws is for Node 20, which has no WebSocket.)

import process from "node:process";
import { Jobcast, JobcastError, type Job, type SessionEvent } from "jobcast";
import { WebSocket } from "ws";

const jobcast = new Jobcast({
  base: process.env["JOBCAST_URL"] ?? "http://127.0.0.1:8080",
  token: process.env["JOBCAST_API_KEY"] ?? null,
  WebSocket,
});
const session = `follow:${process.pid}`;

function told(event: SessionEvent): string {
  switch (event.type) {
    case "hello":
      return `${event.jobs.length} jobs, ${event.resumed ? "resumed" : "as they are"}`;
    case "job.progress":
      return `${event.data.progress?.message ?? ""} ${event.data.progress?.percent ?? ""}`;
    case "job.log":
      return event.data.lines.map((line) => line.text).join("\n");
    case "job.failed":
      return `failed: ${event.data.error?.message ?? ""}`;
    default:
      return event.type;
  }
}

async function follow(task: string): Promise<Job> {
  const { job_id } = await jobcast.api.enqueue({ task, session_id: session });
  for await (const event of jobcast.subscribe(session)) {
    console.log(told(event));
    const job = jobcast.state(session)?.jobs.get(job_id);
    if (job?.finished_at) break;
  }
  return jobcast.api.job(job_id);
}

try {
  const job = await follow(process.argv[2] ?? "report");
  console.log(job.status, job.result ?? "");
} catch (error) {
  if (!(error instanceof JobcastError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
} finally {
  jobcast.destroy();
}
