// Why a hit has its score: its parts as bars, signed, all hits of a page on one scale.

import { el } from "./dom.js";
import { percent, signed } from "./format.js";
import { visible } from "./text.js";

const NAMES = { semantic: "relevance", lexical: "what is named", not_reranked: "not reranked" };

/** Returns the scale of all parts of some hits: where zero is, and how many percent a nat takes. */
export function scaleOf(hits) {
  const values = hits.flatMap((hit) => hit.parts.map((part) => part.nats));
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const room = high - low || 1;
  return { zero: (-low / room) * 100, unit: 100 / room };
}

/** Returns a hit's score and the parts that it is the sum of; `more` is what else is said of it. */
export function scoreAndParts(hit, scale, more = null) {
  const nats = (value) => el("td", { class: "number", "data-nats": value }, signed(value));
  const rows = hit.parts.map((part) =>
    el(
      "tr",
      { class: part.name === "semantic" ? "relevance" : part.nats < 0 ? "minus" : "plus" },
      el("th", { scope: "row" }, NAMES[part.name] ?? part.name),
      el("td", { class: "track" }, bar(part.nats, scale)),
      nats(part.nats),
      el("td", { class: "why" }, visible(part.why)),
    ),
  );
  const chance =
    hit.probability === null ? null : el("span", { class: "chance" }, percent(hit.probability));
  const unit = hit.relevance.nats === null ? "raw score" : "nats";
  return el(
    "div",
    { class: "score" },
    el(
      "p",
      {
        class: "sum",
        title: chance
          ? "the chance that it answers the question, and its log-odds"
          : "the score of an uncalibrated scorer",
      },
      chance,
      el(
        "span",
        { class: "nats", "data-score": hit.score },
        `${signed(hit.score, 2, false)} ${unit}`,
      ),
    ),
    el(
      "table",
      { class: "parts", "aria-label": "Parts of the score" },
      el(
        "thead",
        { class: "unseen" },
        el(
          "tr",
          {},
          ...["part", "bar", "nats", "why"].map((head) => el("th", { scope: "col" }, head)),
        ),
      ),
      el("tbody", {}, rows),
    ),
    more,
  );
}

function bar(nats, { zero, unit }) {
  const width = Math.abs(nats) * unit;
  const left = nats < 0 ? zero - width : zero;
  return el(
    "span",
    { class: "axis", "aria-hidden": "true" },
    el("span", { class: "bar", style: { left: `${left}%`, width: `${width}%` } }),
    el("span", { class: "zero", style: { left: `${zero}%` } }),
  );
}
