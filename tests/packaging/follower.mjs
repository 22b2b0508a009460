// Follows a session until the job with the key `last` has ended; prints what it hears, a JSON a line.

import { Jobcast } from "jobcast";
import { WebSocket } from "ws";

const [base, token, session, after] = process.argv.slice(2);
const jobcast = new Jobcast({ base, token, WebSocket });
let connections = 0;
jobcast.addEventListener("connection", () => {
  if (jobcast.connection.status === "online") connections += 1;
});
let last = null;
for await (const event of jobcast.subscribe(session, { after })) {
  console.log(JSON.stringify(event));
  if (event.data?.key === "last") last = event.job_id;
  if (event.job_id === last && event.type === "job.completed") break;
}
const job = await jobcast.api.wait(last);
console.log(JSON.stringify({ type: "over", connections, result: job.result }));
jobcast.destroy();
