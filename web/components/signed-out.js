/** What a person sees who has no token: why, and what to do about it. */

import { h } from "../dom.js";

/** @param {string} [reason] a sentence @returns {HTMLElement} */
export function signedOut(reason) {
  return h("section.signed-out", { "aria-labelledby": "signed-out", dataset: { testid: "signed-out" } },
    h("h2", { id: "signed-out" }, "You are signed out"),
    reason ? h("p.signed-out-reason", { role: "alert" }, reason) : null,
    h("p", {}, "This page opens with a sign-in link. It works once and signs in one browser tab."),
    h("ol", {},
      h("li", {}, "Go to the terminal in which ", h("code", {}, "jobcast dev"), " is running and press ", h("kbd", {}, "Enter"), ": it prints a fresh link."),
      h("li", {}, "Open that link here.")),
    h("p", {}, "On a shared installation, ask whoever runs it, or sign in through your own application."));
}
