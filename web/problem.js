/** Errors of the hub, and words that a person can use. */

const WORDS = {
  0: "The server cannot be reached.",
  401: "You are signed out.",
  403: "You are not allowed to do that.",
  404: "That no longer exists.",
  409: "That is not possible any more.",
  413: "That is too large.",
  429: "Too many requests. Wait a moment.",
  503: "The server is busy. Try again shortly.",
};

/** A problem (RFC 9457), an `error` frame, or a lost connection. */
export class JobcastError extends Error {
  /**
   * @param {object} problem
   * @param {number} [problem.status] the HTTP status; 0 when there was no answer
   * @param {string|number} [problem.code]
   * @param {string} [problem.title]
   * @param {string} [problem.detail]
   * @param {{pointer?: string, detail?: string}[]} [problem.errors] what is wrong with which field
   */
  constructor({ status = 0, code, title, detail, errors } = {}) {
    super(readable({ status, title, detail, errors }));
    this.name = "JobcastError";
    this.status = status;
    this.code = code;
    this.title = title;
    this.detail = detail;
    this.errors = errors ?? [];
  }

  /** Whether the same call may work later, unchanged. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** One or two sentences for a person. */
function readable({ status, title, detail, errors }) {
  const fields = (errors ?? [])
    .map((e) => [String(e.pointer ?? "").replace(/^#?\//, ""), e.detail].filter(Boolean).join(": "))
    .filter(Boolean);
  if (fields.length) return sentence(fields.join("; "));
  const text = detail || title || WORDS[status] || `The server answered ${status}.`;
  return sentence(text);
}

function sentence(text) {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

/** The error of a failed response. @param {Response} response */
export async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Something between us and the hub answered: its status is all there is.
  }
  return new JobcastError({ ...body, status: response.status });
}
