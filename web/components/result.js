/** A job's result, params and error as things to read rather than as JSON. */

import { linkify } from "../ansi.js";
import { h } from "../dom.js";
import { duration, label, number } from "../format.js";
import { icon } from "../icons.js";

/** Items of a list that are shown; the rest is one click away. */
const MAX_ITEMS = 50;
const BAD = /^(failed|failures?|errors?|broken|rejected)$/i;
const GOOD = /^(passed|succeeded|ok)$/i;

/**
 * @param {unknown} value any JSON
 * @returns {Node[]} links first, then figures, then the rest
 */
export function resultView(value) {
  if (value === null || value === undefined) return [];
  if (typeof value !== "object") return [textBlock(String(value))];
  if (Array.isArray(value)) return [listOf(value, false)];
  const { links, ...rest } = value;
  const nodes = [];
  const figures = h("dl.figures");
  const facts = h("dl.facts");
  const lists = [];
  const numbers = Object.values(rest).filter((item) => typeof item === "number").length;
  for (const [key, item] of Object.entries(rest)) {
    // Of many figures the zeros only hide the others; but that nothing failed is worth saying.
    if (item === 0 && numbers > 4 && key !== "failed" && key !== "passed") continue;
    if (item === null || item === "" || (Array.isArray(item) && !item.length)) continue;
    if (typeof item === "number") figures.append(figure(key, item));
    else if (Array.isArray(item)) lists.push(section(key, listOf(item, BAD.test(key))));
    else if (typeof item === "object") lists.push(section(key, ...resultView(item)));
    else if (typeof item === "string" && item.includes("\n")) lists.push(section(key, textBlock(item)));
    else facts.append(h("dt", {}, label(key)), fact(item));
  }
  if (figures.childElementCount) nodes.push(figures);
  if (facts.childElementCount) nodes.push(facts);
  nodes.push(...lists);
  if (Array.isArray(links) && links.length) nodes.push(linkList(links));
  return nodes.length ? nodes : [h("p.quiet", {}, "Nothing to show.")];
}

/** Plain names and values, for params and metadata. */
export function factsView(value) {
  const facts = h("dl.facts");
  for (const [key, item] of Object.entries(value)) {
    if (item === null || item === undefined || item === "") continue;
    facts.append(h("dt", {}, label(key)), item instanceof Node ? h("dd", {}, item) : fact(item));
  }
  return facts;
}

function figure(key, value) {
  const tone = value > 0 && BAD.test(key) ? "bad" : value > 0 && GOOD.test(key) ? "good" : null;
  const seconds = /(duration|seconds|elapsed)(_s)?$/i.test(key);
  const shown = seconds ? (value < 60 ? `${number(Math.round(value * 10) / 10)}s` : duration(value, true)) : number(Math.round(value * 1e6) / 1e6);
  return h("div.figure", { dataset: tone ? { tone } : {} }, h("dt", {}, label(key.replace(/_s(econds)?$/, ""))), h("dd", {}, shown));
}

function fact(value) {
  const dd = h("dd");
  if (typeof value === "boolean") dd.append(value ? "Yes" : "No");
  else if (typeof value === "object") dd.append(h("code", {}, JSON.stringify(value)));
  else linkify(String(value), dd);
  return dd;
}

function section(key, ...nodes) {
  return h("div.result-part", {}, h("h3", {}, label(key)), ...nodes);
}

function textBlock(text) {
  const block = h("pre.text-block", { tabindex: "0" });
  linkify(text, block);
  return block;
}

function listOf(items, bad) {
  const list = h(bad ? "ul.items.items-bad" : "ul.items");
  const add = (item) => list.append(h("li", {}, bad ? icon("failed") : null, h("div.item", {}, ...itemView(item))));
  items.slice(0, MAX_ITEMS).forEach(add);
  if (items.length > MAX_ITEMS) {
    const more = h("button.plain", { type: "button" }, `Show ${number(items.length - MAX_ITEMS)} more`);
    more.addEventListener("click", () => {
      more.parentElement.remove();
      items.slice(MAX_ITEMS).forEach(add);
    });
    list.append(h("li", {}, more));
  }
  return list;
}

/** One entry of a list: its name, then what there is to say about it. */
function itemView(item) {
  if (item === null || typeof item !== "object") {
    const line = h("span");
    linkify(String(item), line);
    return [line];
  }
  const name = ["test", "nodeid", "name", "title", "path", "file", "id"].find((key) => typeof item[key] === "string");
  const said = ["message", "error", "reason", "detail", "summary"].find((key) => typeof item[key] === "string");
  if (!name) return [h("code", {}, JSON.stringify(item))];
  const where = item.file && name !== "file" ? `${item.file}${item.line ? `:${item.line}` : ""}` : "";
  return [
    h("code.item-name", {}, item[name]),
    where ? h("span.quiet", {}, where) : null,
    said ? h("pre.item-said", { tabindex: "0" }, item[said]) : null,
  ];
}

function linkList(links) {
  const list = h("ul.links");
  for (const { title, url } of links) {
    if (!/^https?:\/\//i.test(String(url))) continue;
    const a = h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, title || url, icon("link"));
    list.append(h("li", {}, a));
  }
  return list;
}
