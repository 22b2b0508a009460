/** `<jc-composer>`: where a person writes. What is typed survives a reload. */

import { h } from "../dom.js";
import { icon } from "../icons.js";
import { draft } from "../storage.js";

export class Composer extends HTMLElement {
  #sessionId = null;

  connectedCallback() {
    if (this.field) return;
    this.field = h("textarea.composer-field", {
      rows: "1", placeholder: "Ask for a job…", "aria-label": "Message", autocomplete: "off",
      dataset: { testid: "composer" },
    });
    this.button = h("button.composer-send", { type: "submit", "aria-label": "Send", title: "Send (Enter)" }, icon("send"));
    this.form = h("form.composer", {}, this.field, this.button);
    this.append(this.form);
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => {
      // While an input method composes, Enter takes its suggestion.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.form.addEventListener("click", (event) => {
      if (event.target === this.form) this.field.focus();
    });
  }

  /** @param {string} sessionId whose draft to show */
  show(sessionId) {
    this.#sessionId = sessionId;
    this.field.value = draft.load(sessionId);
    this.#typed();
  }

  focus() {
    this.field.focus();
  }

  /** Puts text back in front of what is being typed. */
  restore(text) {
    this.field.value = [text, this.field.value].filter(Boolean).join("\n");
    this.#typed();
    this.field.focus();
  }

  #typed() {
    draft.save(this.#sessionId, this.field.value);
    this.button.disabled = !this.field.value.trim();
    if (CSS.supports("field-sizing", "content")) return;
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  #submit() {
    const text = this.field.value.trim();
    if (!text) return;
    this.dispatchEvent(new CustomEvent("say", { detail: text }));
    this.field.value = "";
    this.#typed();
  }
}

customElements.define("jc-composer", Composer);
