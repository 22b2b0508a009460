/** Small helpers over the DOM. Text goes in as text: there is no way to put markup in from here. */

/**
 * @param {string} spec `tag.class.class`
 * @param {object} [props] `on…` listeners, `dataset`, `hidden`-like booleans, else attributes
 * @param {...(Node|string|null|undefined)} children
 * @returns {HTMLElement}
 */
export function h(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const el = document.createElement(tag);
  if (classes.length) el.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(el.dataset, value);
    else el.setAttribute(name, value === true ? "" : value);
  }
  el.append(...children.filter((child) => child !== null && child !== undefined));
  return el;
}

/** Sets text only when it differs, so that selections and screen readers are left in peace. */
export function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

/** Makes `parent`'s children exactly `wanted`, moving as few as possible. */
export function reconcile(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const el of wanted) {
    if (el === at) at = at.nextElementSibling;
    else parent.insertBefore(el, at);
  }
}

/** What has the focus in the tree that an element is in: the page's, or a shadow's. */
export function focusedBeside(el) {
  return el.getRootNode().activeElement ?? null;
}

/** Saves a blob as a file of this name, as a click on a link to it would. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  // The browser reads it after the click: a minute is plenty, and then the memory is free.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A button that copies and says so. @param {() => string} text */
export function copyButton(text, label, ...children) {
  const button = h("button.copy", { type: "button", "aria-label": label, title: label }, ...children);
  button.addEventListener("click", async () => {
    const done = await copy(text());
    button.dataset.copied = done ? "yes" : "no";
    setTimeout(() => delete button.dataset.copied, 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure context there is no clipboard API, but the old command is.
    const area = h("textarea.offscreen", { readonly: true });
    area.value = text;
    document.body.append(area);
    const focused = document.activeElement;
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    focused?.focus?.();
    return done;
  }
}

/** A random id, also where `crypto.randomUUID` is missing (plain http on another host). */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
