/**
 * `<jobcast-jobs>`: the cards of a session's jobs, live, in anybody's page.
 *
 *     <script type="module" src="https://app.example.com/jobs/assets/embed.js"></script>
 *     <jobcast-jobs session="chat:main" token="…"></jobcast-jobs>
 *
 * Attributes: `session`; `job`, for this one only; `token`; `hub`, unless it is the one that this
 * module comes from; `most`, how many jobs are shown (20). They may be changed at any time.
 * Property `getToken`: an async function, asked for `{token, expiresAt}` when there is no token or
 * when it has ended. Where the page is of another origin, the hub has to know it (`JOBCAST_ORIGINS`).
 *
 * What looks like the hub's page is kept in a shadow tree. Light or dark is the page's own
 * `color-scheme`; the colours are custom properties (`--surface`, `--text`, `--active`, …).
 */

import "./components/job-card.js";
import { cardContext } from "./card-context.js";
import { ticker } from "./clock.js";
import { h, reconcile } from "./dom.js";
import { claimsOf } from "./identity.js";
import { Jobcast } from "./jobcast.js";
import { logOf } from "./reducer.js";

const STYLES = ["theme", "card", "log", "embed"];
const MOST = 20;

export class JobcastJobs extends HTMLElement {
  static observedAttributes = ["hub", "session", "job", "token", "most"];

  #getToken = null;
  #jobcast = null;
  #context = null;
  #list = null;
  #cards = new Map();
  #stopTicking = null;
  #planned = false;

  /** The client behind it; null while there is no session to follow. */
  get jobcast() {
    return this.#jobcast;
  }

  /** @type {(() => Promise<{token: string, expiresAt?: string}|null>)|null} */
  get getToken() {
    return this.#getToken;
  }

  set getToken(value) {
    this.#getToken = value;
    if (this.isConnected && !this.getAttribute("token")) this.#plan();
  }

  connectedCallback() {
    if (!this.shadowRoot) this.#build();
    // A page may have set it before this module was there: that is in the way of ours.
    if (Object.hasOwn(this, "getToken")) {
      const { getToken } = this;
      delete this.getToken;
      this.#getToken = getToken;
    }
    this.#plan();
  }

  disconnectedCallback() {
    this.#stop();
  }

  attributeChangedCallback(name, before, now) {
    if (before === now || !this.isConnected) return;
    if (name === "job" || name === "most") this.#draw();
    else this.#plan();
  }

  #build() {
    const root = this.attachShadow({ mode: "open" });
    for (const name of STYLES) {
      // With crossorigin it may come from a hub of another origin.
      const href = new URL(`css/${name}.css`, import.meta.url).href;
      root.append(h("link", { rel: "stylesheet", crossorigin: "anonymous", href }));
    }
    this.#list = h("div.jobs", { role: "group", "aria-label": "Jobs" });
    root.append(this.#list);
  }

  /** Starts anew, once for all that the page sets in one go. */
  #plan() {
    if (this.#planned) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      this.#stop();
      const known = this.getAttribute("token") || this.#getToken;
      if (this.isConnected && this.getAttribute("session") && known) this.#start();
    });
  }

  #start() {
    const session = this.getAttribute("session");
    const token = this.getAttribute("token");
    const base = new URL(this.getAttribute("hub") ?? new URL("..", import.meta.url), document.baseURI);
    const jobcast = new Jobcast({ base, token, getToken: async () => this.#getToken?.() ?? null });
    const told = (given) => {
      this.#context = cardContext(jobcast, session, claimsOf(given ?? "").scope?.split(" ") ?? null);
    };
    told(token);
    this.#jobcast = jobcast;
    jobcast.addEventListener("token", ({ detail }) => told(detail.token));
    jobcast.addEventListener("change", () => this.#draw());
    jobcast.addEventListener("connection", () => {
      this.dataset.stale = String(jobcast.connection.status !== "online");
    });
    jobcast.open(session);
    this.#stopTicking = ticker.add(() => {
      for (const card of this.#cards.values()) if (card.live) card.tick();
    });
  }

  #stop() {
    this.#stopTicking?.();
    this.#jobcast?.destroy();
    this.#jobcast = this.#stopTicking = null;
    this.#cards.clear();
    this.#list?.replaceChildren();
  }

  #draw() {
    const state = this.#jobcast?.state(this.getAttribute("session"));
    if (!state) return;
    const one = this.getAttribute("job");
    const most = Number(this.getAttribute("most")) || MOST;
    const jobs = [...state.jobs.values()]
      .filter((job) => !one || job.id === one)
      .sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at))
      .slice(0, most);
    const cards = new Map();
    for (const { id } of jobs) cards.set(id, this.#cards.get(id) ?? h("jc-job", { dataset: { jobId: id } }));
    this.#cards = cards;
    reconcile(this.#list, [...cards.values()]);
    for (const job of jobs) cards.get(job.id).update(job, logOf(state, job.id), this.#context);
  }
}

customElements.define("jobcast-jobs", JobcastJobs);
