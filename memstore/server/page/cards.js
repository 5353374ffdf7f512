// A memory in a list: its text, and one line of what is known of it.

import { el } from "./dom.js";
import { happened, instant, standing } from "./format.js";
import { link, read } from "./state.js";
import { name, paragraph, plain } from "./text.js";

const SHOWN = 420; // characters: some four lines

/** Returns a memory as a card of a list; with `select` it can be ticked. */
export function card(memory, { select = null, moment } = {}) {
  return el(
    "article",
    {
      class: `card ${standing(memory, moment).word}`,
      "data-id": memory.id,
      onclick: openUnlessUsed,
    },
    select && tick(memory, select),
    el(
      "div",
      { class: "card-body" },
      memory.title && el("h3", {}, name(memory.title)),
      paragraph(memory.text, SHOWN),
      facts(memory, moment),
    ),
  );
}

function tick(memory, select) {
  const box = el("input", {
    type: "checkbox",
    "aria-label": "Select this memory",
    onchange: () => select(memory, box.checked),
  });
  return el("label", { class: "tick writes" }, box);
}

/** Opens the memory of a card that is clicked, unless the click was for something in it. */
export function openUnlessUsed(event) {
  const used = event.target.closest("a, button, input, label, mark, select, textarea");
  if (used || String(getSelection())) return;
  location.hash = link({ memory: event.currentTarget.dataset.id });
}

/** Returns the line below a text: when, who said so, how far it is believed, and where it belongs. */
export function facts(memory, moment) {
  const state = read();
  const stands = standing(memory, moment);
  const link_ = (changes, label, text, title, place = null) =>
    el(
      "a",
      { class: place, href: link(changes), title: plain(`${title}: ${text}`) },
      label && el("span", { class: "label" }, label),
      name(text),
    );
  return el(
    "p",
    { class: "facts" },
    el(
      "a",
      {
        class: "when",
        href: link({ memory: memory.id }),
        title: whenTitle(memory),
        "aria-label": `${happened(memory)}: open this memory`,
      },
      happened(memory),
    ),
    stands.word !== "current" && el("span", { class: `badge ${stands.word}` }, stands.read),
    memory.source &&
      link_({ view: "browse", source: memory.source }, "", memory.source, "All of this source"),
    meter(memory.confidence),
    memory.kind && el("span", { class: "badge" }, name(memory.kind)),
    memory.importance !== 0 &&
      el(
        "span",
        { class: "badge", title: `importance ${memory.importance}` },
        memory.importance > 0 ? "important" : "unimportant",
      ),
    memory.key &&
      link_(
        { view: "browse", key: memory.key, layout: "timeline" },
        "key",
        memory.key,
        "All versions",
      ),
    memory.session &&
      memory.session !== memory.key &&
      link_(
        { view: "browse", session: memory.session },
        "session",
        memory.session,
        "All of this session",
      ),
    memory.namespace !== state.ns &&
      link_({ ns: memory.namespace }, "in", memory.namespace, "This namespace", "in"),
  );
}

function whenTitle(memory) {
  const known = memory.occurred_at
    ? `happened ${memory.occurred_at} (${memory.precision})`
    : "nobody said when it happened";
  return `${known}; stored ${instant(memory.recorded_at)} UTC`;
}

/** Returns a confidence, 0 to 10, as a number and a bar. */
export function meter(confidence) {
  return el(
    "span",
    {
      class: "meter",
      title: `confidence ${confidence.toFixed(2)} of 10; 5 means that nothing is known`,
    },
    el("span", { class: "unseen" }, "confidence "),
    el(
      "span",
      { class: "gauge", "aria-hidden": "true" },
      el("span", { style: { width: `${confidence * 10}%` } }),
    ),
    confidence.toFixed(1),
  );
}

/** Returns links to the entities of a memory. */
export function entityLinks(names) {
  return names.map((entity) =>
    el("a", { class: "chip", href: link({ view: "entities", node: entity }) }, name(entity)),
  );
}
