/** Icons as SVG nodes, drawn on a 16 × 16 grid in the colour of the text. */

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  pending: ["M8 1.75a6.25 6.25 0 1 1 0 12.5a6.25 6.25 0 1 1 0-12.5", "M8 4.75V8l2.25 1.5"],
  running: ["M8 1.75a6.25 6.25 0 1 1-6.25 6.25"],
  input_required: ["M8 1.75a6.25 6.25 0 1 1 0 12.5a6.25 6.25 0 1 1 0-12.5", "M8 4.75v4", "M8 11.25v.01"],
  retrying: ["M13.5 8a5.5 5.5 0 1 1-1.7-4", "M13.75 1.75v3h-3"],
  cancelling: ["M8 1.75a6.25 6.25 0 1 1-6.25 6.25"],
  completed: ["M8 1.75a6.25 6.25 0 1 1 0 12.5a6.25 6.25 0 1 1 0-12.5", "M5.25 8.25l2 2 3.5-4.25"],
  failed: ["M8 1.75a6.25 6.25 0 1 1 0 12.5a6.25 6.25 0 1 1 0-12.5", "M5.75 5.75l4.5 4.5", "M10.25 5.75l-4.5 4.5"],
  cancelled: ["M8 1.75a6.25 6.25 0 1 1 0 12.5a6.25 6.25 0 1 1 0-12.5", "M3.75 3.75l8.5 8.5"],
  send: ["M8 13V3", "M3.75 7.25L8 3l4.25 4.25"],
  down: ["M8 3v10", "M3.75 8.75L8 13l4.25-4.25"],
  download: ["M8 2.500v7.500", "M4.750 7L8 10.250L11.250 7", "M3 13.250h10"],
  copy: ["M5.5 5.5h7a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-7a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1", "M2.5 10.5v-7a1 1 0 0 1 1-1h7"],
  plus: ["M8 3v10", "M3 8h10"],
  menu: ["M2.5 4.5h11", "M2.5 8h11", "M2.5 11.5h11"],
  close: ["M4 4l8 8", "M12 4l-8 8"],
  theme: ["M8 1.75a6.25 6.25 0 1 1 0 12.5a6.25 6.25 0 1 1 0-12.5", "M8 1.75v12.5a6.25 6.25 0 0 0 0-12.5"],
  bell: ["M3.5 11.5c1-1 1-2.5 1-4.5a3.5 3.5 0 0 1 7 0c0 2 0 3.500 1 4.500z", "M6.750 13.750h2.500"],
  help: ["M5.750 6a2.250 2.250 0 1 1 3.250 2c-.7.400-1 .8-1 1.500", "M8 12v.01"],
  chevron: ["M6 4l4 4-4 4"],
  link: ["M6.500 3.500h-3v9h9v-3", "M9.500 2.500h4v4", "M13.250 2.750L7.500 8.500"],
  chat: ["M2.500 3.500h11v7.500h-6l-3 2.500v-2.500h-2z"],
};

/** @param {keyof typeof PATHS} name @returns {SVGElement} hidden from screen readers: words say it */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 16 16", fill: "none", stroke: "currentColor", "stroke-width": "1.5",
    "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true", focusable: "false",
  })) svg.setAttribute(key, value);
  svg.setAttribute("class", `icon icon-${name}`);
  for (const d of PATHS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}
