/**
 * Terminal output to DOM nodes.
 *
 * Colours become classes (`ansi-fg-1`), never inline styles, so that themes and a strict CSP hold.
 * A carriage return and `ESC[K` rewrite the line as a terminal would; other control sequences
 * (cursor moves, OSC titles and links, private modes) are dropped. Text goes in as text nodes only.
 *
 * @typedef {object} Pen the attributes in force
 * @property {number|null} fg 0–15, else null
 * @property {number|null} bg 0–15, else null
 * @property {boolean} bold
 * @property {boolean} dim
 * @property {boolean} italic
 * @property {boolean} underline
 * @property {boolean} inverse
 *
 * @typedef {{text: string, pen: Pen}} Run
 */

const PLAIN = Object.freeze({
  fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, inverse: false,
});

// CSI, then OSC (ended by BEL or ST, or unfinished at the line's end), then DCS and its kin, then
// two-character escapes; last, the control characters that a line may hold by accident.
const CONTROL = new RegExp(
  "(?:\\x1b\\[|\\x9b)([0-?]*)[ -/]*([@-~]?)" +
  "|(?:\\x1b\\]|\\x9d)[^\\x07\\x1b\\x9c]*(?:\\x07|\\x1b\\\\|\\x9c|$)" +
  "|(?:\\x1b[PX^_]|[\\x90\\x98\\x9e\\x9f])[^\\x1b\\x9c]*(?:\\x1b\\\\|\\x9c|$)" +
  "|\\x1b[ -/]*[0-~]?" +
  "|([\\r\\b\\n])" +
  "|[\\x00-\\x08\\x0b-\\x1a\\x1c-\\x1f\\x7f-\\x9f]",
  "g",
);

const LINK = /https?:\/\/[^\s<>"'`\u0000-\u001f]+/g;

/**
 * One line as runs of equal attributes.
 * @param {string} line without its newline; one inside starts over at column 0 of the same line
 * @returns {Run[]}
 */
export function parseLine(line) {
  /** @type {{char: string, pen: Pen}[]} */
  const cells = [];
  let column = 0;
  let pen = PLAIN;
  let at = 0;
  const write = (text) => {
    for (const char of text) {
      cells[column] = { char, pen };
      column += 1;
    }
  };
  CONTROL.lastIndex = 0;
  for (let m = CONTROL.exec(line); m; m = CONTROL.exec(line)) {
    write(line.slice(at, m.index));
    at = m.index + m[0].length;
    const [, params, final, control] = m;
    if (control === "\r" || control === "\n") column = 0;
    else if (control === "\b") column = Math.max(0, column - 1);
    else if (final === "m") pen = applySgr(pen, params);
    else if (final === "K") erase(cells, column, params);
    else if (final === "G") column = Math.min(cells.length, Math.max(0, (Number(params) || 1) - 1));
    else if (final === "C") column = Math.min(cells.length, column + (Number(params) || 1));
    else if (final === "D") column = Math.max(0, column - (Number(params) || 1));
  }
  write(line.slice(at));
  return runs(cells);
}

function erase(cells, column, params) {
  if (params === "" || params === "0") cells.length = Math.min(cells.length, column);
  else if (params === "2") cells.length = 0;
  else if (params === "1") {
    for (let i = 0; i <= column && i < cells.length; i += 1) cells[i] = { char: " ", pen: PLAIN };
  }
}

function runs(cells) {
  const out = [];
  for (let i = 0; i < cells.length; i += 1) {
    // A hole is left where the line was erased and then written further right.
    const { char, pen } = cells[i] ?? { char: " ", pen: PLAIN };
    const last = out[out.length - 1];
    if (last && last.pen === pen) last.text += char;
    else out.push({ text: char, pen });
  }
  return out;
}

function applySgr(pen, params) {
  const codes = params === "" ? [0] : params.split(/[;:]/).map((p) => Number(p) || 0);
  let next = { ...pen };
  for (let i = 0; i < codes.length; i += 1) {
    const c = codes[i];
    if (c === 0) next = { ...PLAIN };
    else if (c === 1) next.bold = true;
    else if (c === 2) next.dim = true;
    else if (c === 3) next.italic = true;
    else if (c === 4) next.underline = true;
    else if (c === 7) next.inverse = true;
    else if (c === 22) next.bold = next.dim = false;
    else if (c === 23) next.italic = false;
    else if (c === 24) next.underline = false;
    else if (c === 27) next.inverse = false;
    else if (c >= 30 && c <= 37) next.fg = c - 30;
    else if (c >= 90 && c <= 97) next.fg = c - 82;
    else if (c === 39) next.fg = null;
    else if (c >= 40 && c <= 47) next.bg = c - 40;
    else if (c >= 100 && c <= 107) next.bg = c - 92;
    else if (c === 49) next.bg = null;
    else if (c === 38 || c === 48) {
      const [colour, used] = extended(codes, i + 1);
      next[c === 38 ? "fg" : "bg"] = colour;
      i += used;
    }
  }
  return next;
}

/** 256 and true colours come down to the sixteen that the theme has. */
function extended(codes, at) {
  if (codes[at] === 5) {
    const n = codes[at + 1] ?? 0;
    if (n < 16) return [n, 2];
    if (n >= 232) return [grey((n - 232) / 23), 2];
    const cube = n - 16;
    return [nearest(Math.floor(cube / 36) / 5, (Math.floor(cube / 6) % 6) / 5, (cube % 6) / 5), 2];
  }
  if (codes[at] === 2) {
    return [nearest((codes[at + 1] ?? 0) / 255, (codes[at + 2] ?? 0) / 255, (codes[at + 3] ?? 0) / 255), 4];
  }
  return [null, 1];
}

function grey(level) {
  if (level < 0.25) return 0;
  if (level < 0.6) return 8;
  return level < 0.9 ? 7 : 15;
}

function nearest(r, g, b) {
  const top = Math.max(r, g, b);
  if (top - Math.min(r, g, b) < 0.15) return grey(top);
  const hue = (r > top / 2 ? 1 : 0) + (g > top / 2 ? 2 : 0) + (b > top / 2 ? 4 : 0);
  return top > 0.75 ? hue + 8 : hue;
}

/** The classes of a pen, space-separated; empty for plain text. */
export function penClass(pen) {
  const names = [];
  const [fg, bg] = pen.inverse ? [pen.bg ?? "base", pen.fg ?? "text"] : [pen.fg, pen.bg];
  if (fg !== null) names.push(`ansi-fg-${fg}`);
  if (bg !== null) names.push(`ansi-bg-${bg}`);
  for (const name of ["bold", "dim", "italic", "underline"]) if (pen[name]) names.push(`ansi-${name}`);
  return names.join(" ");
}

/**
 * One line as DOM.
 * @param {string} line
 * @returns {DocumentFragment}
 */
export function ansiToDom(line) {
  const fragment = document.createDocumentFragment();
  for (const { text, pen } of parseLine(line)) {
    const name = penClass(pen);
    if (!name) {
      linkify(text, fragment);
      continue;
    }
    const span = document.createElement("span");
    span.className = name;
    linkify(text, span);
    fragment.append(span);
  }
  return fragment;
}

/** Appends text, with http(s) addresses as links. */
export function linkify(text, parent) {
  let at = 0;
  for (const m of text.matchAll(LINK)) {
    // Punctuation at the end belongs to the sentence, not to the address.
    const address = m[0].replace(/[.,;:!?)\]}]+$/, "");
    let url;
    try {
      url = new URL(address);
    } catch {
      continue;
    }
    parent.append(text.slice(at, m.index));
    const a = document.createElement("a");
    a.href = url.href;
    a.target = "_blank";
    a.rel = "noopener noreferrer";
    a.textContent = address;
    parent.append(a);
    at = m.index + address.length;
  }
  parent.append(text.slice(at));
}

/** The text that a terminal would show: for copying. */
export function plainText(line) {
  return parseLine(line).map((run) => run.text).join("");
}
