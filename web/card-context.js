/** What a job's card may do and know of its session: the bridge from the client to the cards. */

/**
 * @param {import("./jobcast.js").Jobcast} jobcast
 * @param {string} sessionId
 * @param {string[]|null} scopes of the token; null: not known, so that the hub is left to refuse
 * @param {{queued?: () => void}} [told] `queued`: a card has queued another job
 */
export function cardContext(jobcast, sessionId, scopes, { queued = () => {} } = {}) {
  const { api } = jobcast;
  return {
    now: () => jobcast.clock.now(),
    may: (scope) => scopes === null || scopes.includes(scope) || scopes.includes("admin"),
    find: (id) => jobcast.state(sessionId)?.jobs.get(id) ?? null,
    cancel: (id) => jobcast.cancel(id),
    input: (id, inputId, value) => jobcast.input(id, inputId, value),
    retry: async (id) => {
      const { job, job_id } = await api.retry(id);
      if (job) jobcast.put(sessionId, { type: "fetched.job", job });
      else await jobcast.refresh(sessionId, job_id);
      queued();
    },
    logs: async (id, after, limit) => {
      const lines = await api.logs(id, { after, limit });
      jobcast.put(sessionId, { type: "fetched.logs", job_id: id, lines });
      return lines;
    },
    logText: (id) => api.logText(id),
    whole: (id) => jobcast.refresh(sessionId, id),
  };
}
