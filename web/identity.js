/** Who is looking: from the link's fragment, or from what this tab remembers. */

import { Api } from "./api.js";
import { signIn } from "./storage.js";

/**
 * Takes `#code=`, `#token=` and `#session=` out of the address, so that they are neither bookmarked
 * nor seen over a shoulder.
 * @returns {{code: string|null, token: string|null, session: string|null}}
 */
export function takeFragment() {
  const params = new URLSearchParams(location.hash.slice(1));
  const [code, token, session] = ["code", "token", "session"].map((name) => params.get(name));
  if (code || token || session) {
    history.replaceState(history.state, "", location.pathname + location.search);
  }
  return { code, token, session };
}

/**
 * @param {{code: string|null, token: string|null}} fragment
 * @returns {Promise<{token: string, expiresAt: string|null, sessions: string[]}|null>} null: signed out
 * @throws {import("./problem.js").JobcastError} the code was refused, or the hub is away
 */
export async function identify({ code, token }) {
  if (token) return remember({ token, expires_at: null });
  if (code) {
    const api = new Api({ base: document.baseURI, token: () => null });
    try {
      return remember(await api.exchange(code));
    } catch (error) {
      // A reloaded link: its code is spent, but this tab may well be signed in.
      const known = signIn.load();
      if (known) return known;
      throw error;
    }
  }
  return signIn.load();
}

/** Keeps a token for this tab. */
export function remember({ token, expires_at, sessions }) {
  const claims = claimsOf(token);
  const identity = {
    token,
    expiresAt: expires_at ?? (claims.exp ? new Date(claims.exp * 1000).toISOString() : null),
    sessions: sessions ?? claims.sessions ?? signIn.load()?.sessions ?? [],
  };
  signIn.save(identity);
  return identity;
}

/** What a token says about itself: for showing only, nothing rests on it. */
export function claimsOf(token) {
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(part));
  } catch {
    return {};
  }
}

/** Whether a list of ids and `prefix:*` covers a session. */
export function covers(sessions, sessionId) {
  return sessions.some((p) => p === sessionId || (p.endsWith(":*") && sessionId.startsWith(p.slice(0, -1))));
}

/** The session to show first: the wanted one if the token covers it. */
export function chooseSession(sessions, ...wanted) {
  const found = wanted.find((id) => id && covers(sessions, id));
  return found ?? sessions.find((p) => !p.endsWith("*")) ?? sessions[0]?.replace(/\*$/, "main") ?? "chat:main";
}
