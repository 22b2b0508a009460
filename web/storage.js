/**
 * What the browser keeps: sign-in (this tab only), conversations, drafts, unsent messages, theme.
 *
 * Storage may be full, forbidden or garbage: then nothing is remembered, and nothing breaks.
 */

const PREFIX = "jobcast.";
/** Conversations remembered, newest first: the oldest is forgotten here (never on the hub). */
const MAX_CONVERSATIONS = 50;

function area(kind) {
  try {
    return globalThis[kind];
  } catch {
    return null;
  }
}

function get(kind, name) {
  try {
    return JSON.parse(area(kind)?.getItem(PREFIX + name) ?? "null");
  } catch {
    return null;
  }
}

function set(kind, name, value) {
  try {
    if (value === null) area(kind)?.removeItem(PREFIX + name);
    else area(kind)?.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Full or forbidden.
  }
}

/** @returns {{token: string, expiresAt: string|null, sessions: string[]}|null} */
export const signIn = {
  load() {
    // Whether it has expired is for the hub to say: this machine's clock may be wrong.
    const value = get("sessionStorage", "signin");
    return typeof value?.token === "string" && Array.isArray(value.sessions) ? value : null;
  },
  save: (value) => set("sessionStorage", "signin", value),
};

export const theme = {
  load: () => get("localStorage", "theme"),
  save: (value) => set("localStorage", "theme", value),
};

export const notifications = {
  load: () => get("localStorage", "notify") === true,
  save: (value) => set("localStorage", "notify", value),
};

export const draft = {
  load: (sessionId) => get("localStorage", `draft.${sessionId}`) ?? "",
  save: (sessionId, text) => set("localStorage", `draft.${sessionId}`, text || null),
};

export const unsent = {
  load: (sessionId) => list(get("localStorage", `unsent.${sessionId}`)).filter((m) => m?.message_id && m.text),
  save: (sessionId, messages) => set("localStorage", `unsent.${sessionId}`, messages.length ? messages : null),
};

export const conversations = {
  current: () => get("localStorage", "session"),
  setCurrent: (sessionId) => set("localStorage", "session", sessionId),
  /** @returns {{id: string, title: string}[]} newest first */
  list: () => list(get("localStorage", "conversations")).filter((c) => typeof c?.id === "string"),
  /** Adds one, or renames it; its place stays. */
  note(id, title) {
    const all = conversations.list();
    const known = all.find((c) => c.id === id);
    if (known && (!title || known.title === title)) return false;
    if (known) known.title = title;
    else all.unshift({ id, title: title ?? "" });
    set("localStorage", "conversations", all.slice(0, MAX_CONVERSATIONS));
    return true;
  },
  forget(id) {
    set("localStorage", "conversations", conversations.list().filter((c) => c.id !== id));
  },
};

function list(value) {
  return Array.isArray(value) ? value : [];
}
