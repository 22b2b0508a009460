/** An agent's Markdown as DOM nodes, sanitised. */

import { Marked } from "./vendor/marked.js";
import DOMPurify from "./vendor/purify.js";

/** A tag, or a character that is none; and what of a tag is kept. */
const TAG = /<(\/?)([a-z][a-z0-9]*)\b((?:"[^"]*"|'[^']*'|[^<>"'])*)>|[<>]/gi;
const ATTRIBUTE = /\b(href|title|start|align)\s*=\s*("[^"]*"|'[^']*')/gi;
const ESCAPED = { "<": "&lt;", ">": "&gt;" };

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    // Browsers complain of an inline event handler as soon as it is parsed, also in a document that nobody sees: so
    // none comes as far as the sanitiser.
    html: ({ text }) => {
      const past = text.startsWith("<!--") ? text.indexOf("-->") + 3 : 0;
      return text.slice(past).replace(TAG, (found, slash, name, rest) => {
        if (!name) return ESCAPED[found];
        const kept = [...rest.matchAll(ATTRIBUTE)].map(([, attribute, value]) => ` ${attribute}=${value}`);
        return `<${slash}${name}${kept.join("")}>`;
      });
    },
  },
});

// An allowlist: what a reply needs, and nothing that loads, runs, submits or styles.
const CLEAN = {
  ALLOWED_TAGS: [
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
  ],
  ALLOWED_ATTR: ["href", "title", "start", "align"],
  ALLOWED_URI_REGEXP: /^https?:/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** @param {string} text @returns {DocumentFragment} */
export function markdown(text) {
  const fragment = DOMPurify.sanitize(marked.parse(text), CLEAN);
  for (const a of fragment.querySelectorAll("a[href]")) {
    a.target = "_blank";
    a.rel = "noopener noreferrer";
  }
  for (const el of fragment.querySelectorAll("pre, table")) el.tabIndex = 0;
  // The page has its own h1 and h2: a reply's headings stand below them.
  for (const el of fragment.querySelectorAll("h1, h2")) {
    const lower = document.createElement("h3");
    lower.append(...el.childNodes);
    el.replaceWith(lower);
  }
  return fragment;
}
