/** The page: signs in, follows one session, and joins its parts. */

import "./components/banner.js";
import "./components/chat.js";
import "./components/composer.js";
import "./components/sidebar.js";
import { Attention } from "./attention.js";
import { cardContext } from "./card-context.js";
import { clock, ticker } from "./clock.js";
import { helpDialog } from "./components/help.js";
import { signedOut } from "./components/signed-out.js";
import { h, randomId } from "./dom.js";
import { brief } from "./format.js";
import { icon } from "./icons.js";
import { chooseSession, claimsOf, covers, identify, remember, takeFragment } from "./identity.js";
import { Jobcast } from "./jobcast.js";
import { listenForKeys } from "./keys.js";
import { Outbox } from "./outbox.js";
import { conversations, signIn, theme } from "./storage.js";

const $ = (selector) => document.querySelector(selector);

class App {
  constructor() {
    this.attention = new Attention($("#announcer"));
    this.help = helpDialog();
    document.body.append(this.help);
    this.bar();
    applyTheme(theme.load());
    listenForKeys({
      write: () => this.composer?.focus(),
      help: () => (this.help.open ? this.help.close() : this.help.showModal()),
      theme: toggleTheme,
      next: () => this.chat?.step(1),
      previous: () => this.chat?.step(-1),
      escape: () => this.sidebar?.toggle(false),
    });
  }

  bar() {
    $("#menu").append(icon("menu"));
    $("#theme").append(icon("theme"));
    $("#help").append(icon("help"));
    $("#notify").append(icon("bell"));
    $("#theme").addEventListener("click", toggleTheme);
    $("#help").addEventListener("click", () => this.help.showModal());
    $("#notify").hidden = !this.attention.canNotify;
    $("#notify").setAttribute("aria-pressed", String(this.attention.notifies));
    $("#notify").addEventListener("click", async () => {
      $("#notify").setAttribute("aria-pressed", String(await this.attention.toggleNotifications()));
    });
    $("#menu").addEventListener("click", () => this.sidebar?.toggle());
  }

  async start() {
    const fragment = takeFragment();
    let identity = null;
    let reason = "";
    try {
      identity = await identify(fragment);
    } catch (error) {
      reason = error.status === 0 ? error.message : `That link did not work: ${error.message}`;
    }
    if (!identity) {
      this.signOut(reason);
      return;
    }
    this.begin(identity, fragment.session);
  }

  begin(identity, wanted) {
    this.identity = identity;
    this.scope = claimsOf(identity.token).scope?.split(" ") ?? null;
    this.sidebar = h("jc-sidebar");
    this.chat = h("jc-chat");
    this.composer = h("jc-composer");
    this.banner = h("jc-banner");
    $("#main").replaceChildren(this.chat, h("div.dock", {}, this.banner, this.composer,
      h("p.hint", {}, h("kbd", {}, "Enter"), " sends, ", h("kbd", {}, "Shift Enter"), " starts a new line, ", h("kbd", {}, "?"), " shows the keys")));
    $("#side").replaceChildren(this.sidebar);
    $("#menu").hidden = false;
    this.sidebar.addEventListener("toggled", ({ detail }) => $("#menu").setAttribute("aria-expanded", String(detail)));
    this.sidebar.addEventListener("choose", ({ detail }) => this.show(detail ?? newSession(identity.sessions)));
    this.banner.addEventListener("retry", () => this.jobcast.retryNow());
    this.banner.addEventListener("stale", ({ detail }) => this.stale(detail));
    this.composer.addEventListener("say", ({ detail }) => this.say(detail));
    this.jobcast = new Jobcast({ base: document.baseURI, token: identity.token, expiresAt: identity.expiresAt, clock });
    this.jobcast.addEventListener("connection", () => this.connection());
    this.jobcast.addEventListener("change", ({ detail }) => this.changed(detail));
    this.jobcast.addEventListener("token", ({ detail }) => remember({ token: detail.token, expires_at: detail.expiresAt }));
    this.jobcast.addEventListener("refused", ({ detail }) => this.refused(detail));
    this.stopTicking = ticker.add(() => {
      this.chat.tick();
      this.banner.tick();
    });
    document.addEventListener("visibilitychange", () => this.draw());
    this.show(chooseSession(identity.sessions, wanted, conversations.current()));
    // On a phone the keyboard would cover what there is to see first.
    if (matchMedia("(hover: hover)").matches) this.composer.focus();
  }

  show(sessionId) {
    if (this.sessionId === sessionId) return;
    if (this.sessionId) this.jobcast.close(this.sessionId);
    this.sessionId = sessionId;
    this.outbox = new Outbox(this.jobcast, sessionId);
    this.outbox.addEventListener("change", () => this.draw());
    this.more = { messages: null, done: false };
    this.attention.reset();
    conversations.setCurrent(sessionId);
    conversations.note(sessionId);
    this.chat.clear();
    this.composer.show(sessionId);
    this.jobcast.open(sessionId);
    this.draw();
  }

  say(text) {
    this.chat.toLatest();
    this.outbox.say(text);
  }

  connection() {
    const connection = this.jobcast.connection;
    this.banner.update(connection);
    if (connection.status === "online") this.outbox.resend();
    if (connection.status === "closed" && connection.code === 4401) {
      this.signOut("Your sign-in has ended.");
    } else if (connection.status === "closed") {
      this.signOut("The server closed the connection and does not want it back. Reload the page to try again.", true);
    }
  }

  stale(stale) {
    document.documentElement.dataset.stale = String(stale);
    this.attention.say(stale ? "Connection lost. Reconnecting." : "Connected.");
  }

  refused({ sessionId, code }) {
    if (sessionId !== this.sessionId) return;
    conversations.forget(sessionId);
    const fallback = chooseSession(this.identity.sessions);
    this.attention.say(code === 4410 ? "This conversation was deleted." : "This conversation is not yours.");
    this.show(fallback === sessionId ? newSession(this.identity.sessions) : fallback);
  }

  changed({ sessionId, state }) {
    if (sessionId !== this.sessionId) return;
    this.outbox.settle(state.messages);
    this.attention.follow(state);
    this.draw();
  }

  /** Draws once a frame, however much arrives in it. */
  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      if (!this.jobcast) return;
      const state = this.jobcast.state(this.sessionId);
      this.chat.update(state, this.outbox.list, this.context());
      const first = [...(state?.messages.values() ?? [])].find((m) => m.role === "user");
      const known = conversations.list().find((c) => c.id === this.sessionId);
      if (first && !known?.title) conversations.note(this.sessionId, brief(first.text));
      const { sessions } = this.identity;
      const mine = conversations.list().filter((c) => covers(sessions, c.id) || c.id === this.sessionId);
      this.sidebar.update(mine, this.sessionId, sessions.some((p) => p.endsWith(":*")));
    });
  }

  context() {
    const sessionId = this.sessionId;
    return {
      ...cardContext(this.jobcast, sessionId, this.scope, { queued: () => this.chat?.toLatest() }),
      suggest: (text) => this.say(text),
      again: (messageId) => this.outbox.again(messageId),
      takeBack: (messageId) => this.composer.restore(this.outbox.takeBack(messageId)),
      hasOlder: () => this.hasOlder(),
      older: () => this.older(),
    };
  }

  hasOlder() {
    const state = this.jobcast.state(this.sessionId);
    // A hello brings at most 200 messages: fewer means that there are no others.
    return Boolean(state?.more) || (!this.more.done && (state?.messages.size ?? 0) >= 200);
  }

  async older() {
    const sessionId = this.sessionId;
    const state = this.jobcast.state(sessionId);
    const { api } = this.jobcast;
    if (state.more) {
      const { jobs, more } = await api.jobs(sessionId, { cursor: state.more });
      this.jobcast.put(sessionId, { type: "fetched.jobs", jobs, more });
    }
    if (!this.more.done && state.messages.size >= 200) {
      const before = this.more.messages ?? state.messages.values().next().value.cursor;
      const { messages, more } = await api.messages(sessionId, { before });
      this.more = { messages: more, done: more === null };
      this.jobcast.put(sessionId, { type: "fetched.messages", messages });
    }
  }

  signOut(reason, keep = false) {
    if (!keep) signIn.save(null);
    this.stopTicking?.();
    this.jobcast?.destroy();
    this.jobcast = null;
    this.chat = this.composer = this.sidebar = null;
    $("#menu").hidden = true;
    $("#side").replaceChildren();
    $("#main").replaceChildren(signedOut(reason));
  }
}

function newSession(sessions) {
  const pattern = sessions.find((p) => p.endsWith(":*")) ?? "chat:*";
  const id = `${pattern.slice(0, -1)}${randomId()}`;
  return covers(sessions, id) ? id : chooseSession(sessions);
}

function applyTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
}

function toggleTheme() {
  const shown = document.documentElement.dataset.theme
    ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = shown === "dark" ? "light" : "dark";
  theme.save(next);
  applyTheme(next);
}

new App().start();
