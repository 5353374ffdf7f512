// A memory's text on the page: isolated, what is invisible in it named, tokens of it marked.

import { el } from "./dom.js";

// Characters that are not seen but change what is, or hide something: controls, marks of direction,
// zero widths, tags, halves of surrogate pairs, and variation selectors in a row (one is usual).
const UNSEEN =
  /(?:[\u{0}-\u{8}\u{B}\u{C}\u{E}-\u{1F}\u{7F}-\u{9F}\u{AD}\u{61C}\u{180E}\u{200B}\u{200E}\u{200F}\u{2028}-\u{202E}\u{2060}-\u{206F}\u{FEFF}\u{FFF9}-\u{FFFB}\u{E0000}-\u{E007F}\u{D800}-\u{DFFF}]|[\u{FE00}-\u{FE0F}\u{E0100}-\u{E01EF}]{2,})+/gu;
const NAMES = {
  0xad: "soft hyphen",
  0x200b: "zero-width space",
  0x200e: "left-to-right mark",
  0x200f: "right-to-left mark",
  0x202a: "left-to-right embedding",
  0x202b: "right-to-left embedding",
  0x202c: "pop directional formatting",
  0x202d: "left-to-right override",
  0x202e: "right-to-left override",
  0x2066: "left-to-right isolate",
  0x2067: "right-to-left isolate",
  0x2068: "first strong isolate",
  0x2069: "pop directional isolate",
  0xfeff: "byte order mark",
};
const SHOWN_AT_ONCE = 20000;

/** Returns a function from offsets in code points, as Python counts, to offsets in a string here. */
export function unitsOf(text) {
  if (!/[\u{10000}-\u{10FFFF}]/u.test(text)) return (offset) => offset;
  const units = [];
  let at = 0;
  for (const character of text) {
    units.push(at);
    at += character.length;
  }
  units.push(at);
  return (offset) => units[Math.min(offset, units.length - 1)];
}

/** Returns a text as nodes in which what cannot be seen is named. */
export function visible(text) {
  const nodes = [];
  let after = 0;
  for (const { 0: run, index } of text.matchAll(UNSEEN)) {
    nodes.push(text.slice(after, index), named(run));
    after = index + run.length;
  }
  nodes.push(text.slice(after));
  return nodes.filter((node) => node !== "");
}

function named(run) {
  const points = [...run].map((character) => character.codePointAt(0));
  const code = (point) => `U+${point.toString(16).toUpperCase().padStart(4, "0")}`;
  const tags = points.filter((point) => point > 0xe001f && point < 0xe007f);
  const hidden = String.fromCharCode(...tags.slice(0, 500).map((point) => point - 0xe0000));
  const shown = tags.length > 3 ? `hidden: ${hidden}` : points.slice(0, 3).map(code).join(" ");
  const more = tags.length <= 3 && points.length > 3 ? ` and ${points.length - 3} more` : "";
  const title = points.slice(0, 8).map((point) => `${code(point)} ${NAMES[point] ?? ""}`.trim());
  return el("span", { class: "hidden-character", title: title.join(", ") }, `${shown}${more}`);
}

/** Returns a text for places that hold no elements (titles, labels): what cannot be seen is a box. */
export function plain(text) {
  return text.replace(UNSEEN, "\u25AF");
}

/** Returns a short text (a name, a key) by itself, so that its direction stays its own. */
export function name(text) {
  return el("bdi", {}, visible(String(text)));
}

/** Returns the beginning of a text, cut between characters, for where there is little room. */
export function excerpt(text, characters = 120) {
  const line = text
    .slice(0, characters * 4)
    .replace(/\s+/gu, " ")
    .trim();
  const cut = [...line].slice(0, characters).join("");
  return cut.length < line.length || text.length > characters * 4 ? `${cut.trimEnd()}…` : cut;
}

/** Returns a text as a paragraph; of a long one the beginning, and a button for more. */
export function paragraph(text, shown = SHOWN_AT_ONCE) {
  const place = el("p", { class: "text", dir: "auto" });
  const show = (end) => {
    place.replaceChildren(...visible(text.slice(0, end)));
    if (end >= text.length) return;
    const left = (text.length - end).toLocaleString("en-GB");
    place.append(
      "… ",
      el(
        "button",
        { type: "button", class: "link", onclick: () => show(cut(text, end + SHOWN_AT_ONCE)) },
        `${left} more characters`,
      ),
    );
  };
  show(cut(text, shown));
  return place;
}

function cut(text, at) {
  const low = text.charCodeAt(at);
  return low >= 0xdc00 && low <= 0xdfff ? at + 1 : at; // not between the halves of a pair
}

/**
 * Returns a text's part with marks: `spans` are {start, end, make} in units of the text, where
 * `make(nodes)` returns the element around them. Of spans that overlap the later one is cut.
 */
export function marked(text, start, end, spans) {
  const nodes = [];
  let at = start;
  for (const span of [...spans].sort((one, other) => one.start - other.start)) {
    const from = Math.max(span.start, at);
    const to = Math.min(span.end, end);
    if (from >= to) continue;
    nodes.push(...visible(text.slice(at, from)), span.make(visible(text.slice(from, to))));
    at = to;
  }
  nodes.push(...visible(text.slice(at, end)));
  return nodes;
}
