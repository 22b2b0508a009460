/** `<jc-answer>`: what a job asks a person, and the buttons or the field to answer with. */

import { h } from "../dom.js";
import { label } from "../format.js";

const CONFIRM_WORDS = { yes: "Approve", no: "Decline" };

export class Answer extends HTMLElement {
  #shown = null;

  /**
   * @param {object|null} input the job's `input`
   * @param {(value: unknown) => Promise<void>} answer
   * @param {boolean} allowed whether this person may answer it
   */
  update(input, answer, allowed) {
    this.hidden = !input;
    if (!input) {
      this.replaceChildren();
      this.#shown = null;
    }
    if (!input || input.id === this.#shown) return;
    this.#shown = input.id;
    const confirm = input.kind === "confirm";
    this.dataset.kind = input.kind ?? "question";
    const options = choices(input);
    this.problem = h("p.answer-problem", { role: "alert" });
    const promptId = `ask-${input.id}`;
    const controls = options ? this.#buttons(options, confirm, answer) : this.#field(input, answer, promptId);
    if (!allowed) {
      controls.querySelectorAll("button, input").forEach((el) => { el.disabled = true; });
      this.problem.textContent = "You may look on, but not answer this.";
    }
    this.replaceChildren(
      h("p.answer-prompt", { id: promptId }, input.prompt ?? ""),
      controls,
      this.problem,
    );
  }

  #buttons(options, confirm, answer) {
    const group = h("div.answer-options", { role: "group", "aria-label": confirm ? "Approval needed" : "Question" });
    options.forEach((option, i) => {
      const words = (confirm && CONFIRM_WORDS[option]) || wordOf(option);
      const button = h(i === 0 ? "button.button.primary" : "button.button", { type: "button", dataset: { value: option } }, words);
      button.addEventListener("click", () => this.#send(answer, option, button, words));
      group.append(button);
    });
    return group;
  }

  #field(input, answer, promptId) {
    const kind = input.schema?.type;
    const numeric = kind === "number" || kind === "integer";
    const field = h("input.field", { type: "text", "aria-labelledby": promptId, autocomplete: "off", required: true,
      inputmode: numeric ? "decimal" : null });
    const button = h("button.button.primary", { type: "submit" }, "Answer");
    const form = h("form.answer-form", {}, field, button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = field.value.trim();
      if (!text) return;
      if (numeric && !Number.isFinite(Number(text))) {
        this.problem.textContent = "A number is needed.";
        return;
      }
      this.#send(answer, numeric ? Number(text) : text, button, "Answer");
    });
    return form;
  }

  async #send(answer, value, button, words) {
    if (this.getAttribute("aria-busy") === "true") return;
    this.setAttribute("aria-busy", "true");
    this.problem.textContent = "";
    button.textContent = "Sending…";
    try {
      // The event of the answered job takes this away; the button stays as it is until then.
      await answer(value);
    } catch (error) {
      this.problem.textContent = error.message;
      button.textContent = words;
    }
    this.removeAttribute("aria-busy");
  }
}

/** What there is to choose from, null when the answer is free. */
function choices({ kind, options, schema }) {
  if (options?.length) return options;
  if (kind === "confirm") return ["yes", "no"];
  if (schema?.type === "boolean") return [true, false];
  return schema?.enum?.length ? schema.enum : null;
}

/** Plain words get a capital; whatever else stands for itself is shown as it is. */
function wordOf(option) {
  if (typeof option === "boolean") return option ? "Yes" : "No";
  return /^[a-z][a-z ]*$/.test(option) ? label(option) : String(option);
}

customElements.define("jc-answer", Answer);
