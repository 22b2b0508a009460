/** `<jc-banner>`: says that the page is behind, once it has been for two seconds. */

import { h, setText } from "../dom.js";

/** Shorter breaks are nobody's business, in ms. */
const GRACE = 2000;

export class Banner extends HTMLElement {
  #since = null;
  #connection = { status: "idle", retryAt: null };
  #timer = 0;

  connectedCallback() {
    if (this.words) return;
    this.hidden = true;
    this.dataset.testid = "banner";
    this.words = h("span");
    this.button = h("button.plain", { type: "button", onclick: () => this.dispatchEvent(new Event("retry")) }, "Retry now");
    // Not a live region: it counts down. The announcer says once that the connection is gone.
    this.append(h("span.banner-dot", { "aria-hidden": "true" }), this.words, this.button);
  }

  /** @param {{status: string, retryAt: number|null}} connection */
  update(connection) {
    this.#connection = connection;
    if (["online", "closed", "idle"].includes(connection.status)) {
      this.#since = null;
      clearTimeout(this.#timer);
    } else if (this.#since === null) {
      this.#since = Date.now();
      this.#timer = setTimeout(() => this.tick(), GRACE);
    }
    this.tick();
  }

  /** Once a second. */
  tick() {
    const due = this.#since !== null && Date.now() - this.#since >= GRACE;
    if (this.hidden === due) {
      this.hidden = !due;
      this.dispatchEvent(new CustomEvent("stale", { detail: due }));
    }
    if (!due) return;
    const { status, retryAt } = this.#connection;
    const seconds = Math.ceil(((retryAt ?? 0) - Date.now()) / 1000);
    const waits = status === "waiting" && seconds > 0;
    setText(this.words, waits ? `Reconnecting in ${seconds} s` : "Reconnecting…");
    this.button.hidden = !waits;
  }
}

customElements.define("jc-banner", Banner);
