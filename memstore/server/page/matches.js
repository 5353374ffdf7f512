// Late interaction, seen: each token of the query and the token of the text that is most like it.

import { el } from "./dom.js";
import { excerpt, marked, plain, unitsOf, visible } from "./text.js";

const AROUND = 160; // characters of a long text before and after the passage
const LINES = 560; // characters: more than seven lines

/** Returns the text of a hit with its tokens marked, and the query's tokens below it. */
export function matchedText(hit) {
  const matches = hit.token_matches;
  const share = (match) => match.weight * match.similarity;
  const most = Math.max(...matches.map((match) => Math.max(share(match), 0)), 1e-9);
  const marks = new Map(); // "start-end" → the element
  const text = el("p", { class: "text", dir: "auto" });
  text.append(...passageNodes(hit, spansOf(matches, share, most, marks)));
  const shown = [text, ...clamped(text)];
  if (matches.length === 0) return shown;

  const sum = matches.reduce((total, match) => total + share(match), 0);
  const whole = sumText(hit, sum);
  const readout = el("p", { class: "readout" }, whole);
  const tokens = matches.map((match, index) => {
    const heat = Math.max(share(match), 0) / most;
    return el(
      "button",
      {
        type: "button",
        class: "token",
        "data-token": index,
        style: { "--own": heat.toFixed(3) },
        "aria-label": plain(`${match.query_token}: ${told(match)}`),
      },
      visible(match.query_token),
    );
  });
  light({ text, tokens, marks, matches, readout, whole });
  return [
    ...shown,
    el(
      "div",
      { class: "tokens" },
      el("span", { class: "label" }, "tokens"),
      el("div", { class: "row", role: "group", "aria-label": "Tokens of the query" }, tokens),
    ),
    readout,
  ];
}

/** Shows a few lines of a long text, and returns a button for the rest of it. */
function clamped(text) {
  if (text.textContent.length < LINES) return [];
  text.classList.add("clamped");
  const more = el(
    "button",
    {
      type: "button",
      class: "link more",
      onclick: () => (text.classList.remove("clamped"), more.remove()),
    },
    "Show all of it",
  );
  return [more];
}

function sumText(hit, sum) {
  const total = [
    el("span", { class: "label" }, "Σ similarity × weight "),
    el("span", { "data-sum": sum }, sum.toFixed(3)),
  ];
  const own = hit.relevance.kind === "maxsim" ? [` = MaxSim ${hit.relevance.raw.toFixed(3)}`] : [];
  return [...total, ...own];
}

function told(match) {
  const where =
    match.start === null
      ? /^\[.*\]$/.test(match.passage_token)
        ? "the marker"
        : "in the title,"
      : "";
  const product = (match.similarity * match.weight).toFixed(3);
  const others = match.pooled_with?.length
    ? ` (one vector with “${match.pooled_with.map((token) => excerpt(token, 20)).join("”, “")}”)`
    : "";
  return `${where} “${excerpt(match.passage_token, 40)}”${others}, similarity ${match.similarity.toFixed(3)} × weight ${match.weight.toFixed(3)} = ${product}`.trim();
}

function spansOf(matches, share, most, marks) {
  const found = new Map();
  matches.forEach((match, index) => {
    if (match.start === null || match.start === match.end) return;
    const key = `${match.start}-${match.end}`;
    if (!found.has(key))
      found.set(key, { start: match.start, end: match.end, tokens: [], heat: 0 });
    const span = found.get(key);
    span.tokens.push(index);
    span.heat += Math.max(share(match), 0) / most;
  });
  return [...found].map(([key, span]) => ({
    ...span,
    make(nodes) {
      const mark = el(
        "mark",
        {
          "data-tokens": span.tokens.join(" "),
          style: { "--own": Math.min(span.heat, 1).toFixed(3) },
        },
        nodes,
      );
      marks.set(key, mark);
      return mark;
    },
  }));
}

/** Of a long text: the passage and a little around it, which is fainter. */
function passageNodes(hit, spans) {
  const { memory, passage } = hit;
  const text = memory.text;
  const units = unitsOf(text);
  const [start, end] = [units(passage.start), units(passage.end)];
  const from = start > AROUND ? nextWord(text, start - AROUND) : 0;
  const to = text.length > end + AROUND ? nextWord(text, end + AROUND) : text.length;
  const placed = spans.map((span) => ({ ...span, start: units(span.start), end: units(span.end) }));
  const faint = (nodes) => (nodes.length > 0 ? el("span", { class: "around" }, nodes) : "");
  return [
    faint([...(from > 0 ? ["… "] : []), ...visible(text.slice(from, start))]),
    ...marked(text, start, end, placed),
    faint([...visible(text.slice(end, to)), ...(to < text.length ? [" …"] : [])]),
  ].filter((node) => node !== "");
}

function nextWord(text, at) {
  const space = text.indexOf(" ", at);
  if (space !== -1 && space < at + 30) return space;
  const low = text.charCodeAt(at);
  return low >= 0xdc00 && low <= 0xdfff ? at + 1 : at;
}

/** Lets a token and the token it met light up together, whichever is pointed at or has the focus. */
function light({ text, tokens, marks, matches, readout, whole }) {
  const markOf = (match) => marks.get(`${match.start}-${match.end}`);
  const show = (indexes) => {
    const lit = new Set(indexes);
    text.classList.toggle("asked", lit.size > 0);
    for (const mark of marks.values()) mark.classList.remove("lit");
    tokens.forEach((token, index) => token.classList.toggle("lit", lit.has(index)));
    for (const index of lit) {
      const mark = markOf(matches[index]);
      mark?.classList.add("lit");
      if (mark && text.classList.contains("clamped"))
        text.scrollTop = mark.offsetTop - text.offsetTop - text.clientHeight / 2;
    }
    if (lit.size === 0) return readout.replaceChildren(...whole);
    const lines = [...lit].map((index) =>
      el(
        "span",
        { class: "meeting" },
        el("b", {}, visible(matches[index].query_token)),
        " → ",
        visible(told(matches[index])),
      ),
    );
    return readout.replaceChildren(...lines);
  };
  tokens.forEach((token, index) => {
    for (const event of ["mouseenter", "focus", "click"])
      token.addEventListener(event, () => show([index]));
    for (const event of ["mouseleave", "blur"]) token.addEventListener(event, () => show([]));
  });
  for (const mark of marks.values()) {
    mark.addEventListener("mouseenter", () => show(mark.dataset.tokens.split(" ").map(Number)));
    mark.addEventListener("mouseleave", () => show([]));
  }
}
