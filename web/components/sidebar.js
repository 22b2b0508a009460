/** `<jc-sidebar>`: the conversations that this browser knows. A drawer where there is little room. */

import { h } from "../dom.js";
import { icon } from "../icons.js";

export class Sidebar extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    this.fresh = h("button.button.new", { type: "button", dataset: { testid: "new-conversation" }, onclick: () => this.#choose(null) },
      icon("plus"), "New conversation");
    this.list = h("ul.conversations");
    this.veil = h("div.veil", { onclick: () => this.toggle(false) });
    this.nav = h("nav.sidebar", { id: "sidebar", "aria-label": "Conversations" }, this.fresh, this.list);
    this.append(this.veil, this.nav);
  }

  /**
   * @param {{id: string, title: string}[]} conversations
   * @param {string} current
   * @param {boolean} mayAdd whether this person may begin another
   */
  update(conversations, current, mayAdd) {
    this.fresh.hidden = !mayAdd;
    const key = JSON.stringify([conversations, current]);
    if (this.dataset.key === key) return;
    this.dataset.key = key;
    this.list.replaceChildren(...conversations.map(({ id, title }) => {
      const name = title || (id === "chat:main" ? "Main" : "New conversation");
      const button = h("button.conversation", { type: "button", title: id, dataset: { sessionId: id }, "aria-current": id === current ? "true" : null,
        onclick: () => this.#choose(id) }, icon("chat"), h("span", {}, name));
      return h("li", {}, button);
    }));
  }

  get shown() {
    return this.dataset.open === "true";
  }

  toggle(open = !this.shown) {
    this.dataset.open = String(open);
    this.dispatchEvent(new CustomEvent("toggled", { detail: open }));
  }

  #choose(id) {
    this.toggle(false);
    this.dispatchEvent(new CustomEvent("choose", { detail: id }));
  }
}

customElements.define("jc-sidebar", Sidebar);
