/** The page's keys: `/ ? t j k Esc`, ignored while a person types. */

/** @param {Record<"write"|"help"|"theme"|"next"|"previous"|"escape", () => void>} actions */
export function listenForKeys(actions) {
  const keys = { "/": "write", "?": "help", t: "theme", j: "next", k: "previous" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "Escape") {
      if (typing) typing.blur();
      actions.escape();
      return;
    }
    if (typing || (document.querySelector("dialog[open]") && event.key !== "?")) return;
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    actions[action]();
  });
}
