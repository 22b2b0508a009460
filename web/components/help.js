/** The dialog behind `?`. */

import { h } from "../dom.js";
import { icon } from "../icons.js";

const KEYS = [
  ["/", "Write a message"],
  ["j", "Next job"],
  ["k", "Previous job"],
  ["t", "Light or dark"],
  ["?", "This help"],
  ["Esc", "Close, or leave the field"],
  ["Enter", "Send"],
  ["Shift Enter", "New line"],
];

/** @returns {HTMLDialogElement} */
export function helpDialog() {
  const rows = KEYS.flatMap(([keys, words]) => [
    h("dt", {}, ...keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, words),
  ]);
  const close = h("button.icon-button", { type: "button", "aria-label": "Close" }, icon("close"));
  const dialog = h("dialog.help", { "aria-labelledby": "help-title" },
    h("header", {}, h("h2", { id: "help-title" }, "Keyboard"), close),
    h("dl.keys", {}, ...rows));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return dialog;
}
