// One memory in the panel: all that is known of it, what happened to it, what can be said of it.

import * as api from "./api.js";
import { entityLinks, meter } from "./cards.js";
import { el } from "./dom.js";
import { feedbackBar } from "./feedback.js";
import { forgetDialog } from "./forget.js";
import { day, happened, instant, plural, span, standing } from "./format.js";
import { problem, waiting } from "./notices.js";
import { NO_FILTERS, link } from "./state.js";
import { excerpt, name, paragraph, visible } from "./text.js";

/** Shows a memory in the panel. */
export async function showMemory(id, panel, signal) {
  panel.replaceChildren(bar(), waiting());
  try {
    const memory = await api.memory(id, signal);
    const [events, replaced] = await Promise.all([
      api.history(id, signal),
      api.memories(
        { namespace: memory.namespace, where: { superseded_by: id }, limit: 10 },
        signal,
      ),
    ]);
    draw(memory, events.events, replaced.memories, panel, signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 404) await showForgotten(id, error, panel, signal);
    else
      panel.replaceChildren(
        bar(),
        problem(error, () => void showMemory(id, panel, signal)),
      );
  }
}

function bar() {
  return el(
    "div",
    { class: "panel-bar" },
    el("h2", {}, "Memory"),
    el(
      "a",
      { class: "close", href: link({ memory: "" }), "aria-label": "Close", title: "Close (Esc)" },
      "×",
    ),
  );
}

/** Of a memory that is gone, its history may still say so. */
async function showForgotten(id, refused, panel, signal) {
  try {
    const { events } = await api.history(id, signal);
    panel.replaceChildren(
      bar(),
      problem(refused),
      el("section", {}, el("h3", {}, "History"), history(events)),
    );
  } catch (error) {
    if (error.name === "AbortError") return;
    panel.replaceChildren(bar(), problem(refused));
  }
}

function draw(memory, events, replaced, panel, signal) {
  const stands = standing(memory);
  const again = () => {
    void showMemory(memory.id, panel, signal);
    document.dispatchEvent(new CustomEvent("changed", { detail: { id: memory.id } }));
  };
  const done = (changed, verb) => {
    if (verb === "supersede") location.hash = link({ memory: changed.id });
    else again();
    if (verb === "supersede")
      document.dispatchEvent(new CustomEvent("changed", { detail: { id: memory.id } }));
  };
  panel.replaceChildren(
    bar(),
    el(
      "article",
      { class: `whole ${stands.word}`, "data-id": memory.id },
      memory.title && el("h3", {}, name(memory.title)),
      paragraph(memory.text),
      el(
        "p",
        { class: "facts" },
        el("span", {}, happened(memory)),
        el("span", { class: `badge ${stands.word}` }, stands.read),
        meter(memory.confidence),
      ),
      memory.superseded_by &&
        el(
          "p",
          { class: "instead" },
          el("a", { href: link({ memory: memory.superseded_by }) }, "What replaced it →"),
        ),
      replaced.map((old) =>
        el(
          "p",
          { class: "instead" },
          "Replaced: ",
          el("a", { href: link({ memory: old.id }) }, name(excerpt(old.text, 90))),
        ),
      ),
    ),
    feedbackBar(memory, done),
    fields(memory),
    el("section", {}, el("h3", {}, "History"), history(events)),
    el(
      "div",
      { class: "writes" },
      el(
        "button",
        {
          type: "button",
          class: "danger",
          onclick: () => void forgetDialog({ ids: [memory.id] }, [memory]),
        },
        "Forget…",
      ),
    ),
  );
}

function fields(memory) {
  const list = (changes, text) =>
    el(
      "a",
      { href: link({ ...NO_FILTERS, view: "browse", layout: "list", ...changes }) },
      name(text),
    );
  const time = (iso) => el("time", { datetime: iso, title: iso }, instant(iso));
  const votes = memory.alpha + memory.beta - 2;
  const rows = [
    ["namespace", list({ ns: memory.namespace }, memory.namespace)],
    ["source", memory.source && list({ source: memory.source }, memory.source)],
    ["kind", memory.kind && name(memory.kind)],
    ["session", memory.session && list({ session: memory.session }, memory.session)],
    [
      "key",
      memory.key && [
        name(memory.key),
        " ",
        el(
          "a",
          {
            href: link({
              ...NO_FILTERS,
              view: "browse",
              ns: memory.namespace,
              key: memory.key,
              layout: "timeline",
            }),
          },
          "all versions",
        ),
      ],
    ],
    [
      "entities",
      memory.entities.length > 0 && el("span", { class: "chips" }, entityLinks(memory.entities)),
    ],
    [
      "happened",
      memory.occurred_at
        ? [
            happened(memory),
            memory.precision !== "instant" &&
              el("span", { class: "help" }, ` (the ${memory.precision} is known)`),
          ]
        : "nobody said when",
    ],
    ["stored", time(memory.recorded_at)],
    ["valid", validity(memory)],
    ["retracted", memory.retracted_at && time(memory.retracted_at)],
    ["half-life", memory.half_life !== null && span(memory.half_life)],
    [
      "confidence",
      [
        memory.confidence.toFixed(2),
        " of 10",
        votes > 0.005 && `, after votes that weigh ${votes.toFixed(1)}`,
      ],
    ],
    ["importance", memory.importance !== 0 && String(memory.importance)],
    ["uses", memory.uses > 0 && plural(memory.uses, "time")],
    [
      "metadata",
      Object.keys(memory.metadata).length > 0 && Object.entries(memory.metadata).map(metadatum),
    ],
    ["id", el("code", {}, memory.id)],
  ];
  const shown = rows.filter(
    ([, value]) => value !== null && value !== undefined && value !== false && value !== "",
  );
  return el(
    "dl",
    {},
    shown.map(([label, value]) => [el("dt", {}, label), el("dd", {}, value)]),
  );
}

function metadatum([field, value]) {
  const written = typeof value === "string" ? value : JSON.stringify(value, null, 1);
  return el("div", { class: "metadatum" }, name(field), ": ", name(written));
}

function validity(memory) {
  if (!memory.valid_from && !memory.valid_to) return null;
  const from = memory.valid_from ? `from ${instant(memory.valid_from)}` : "";
  const to = memory.valid_to ? `until ${instant(memory.valid_to)}` : "";
  return `${from} ${to}`.trim();
}

function history(events) {
  return el(
    "ol",
    { class: "history" },
    [...events].reverse().map((event) =>
      el(
        "li",
        {},
        el("b", {}, event.verb.replaceAll("_", " ")),
        event.source && [" by ", name(event.source)],
        el(
          "time",
          {
            datetime: event.recorded_at,
            title: `took effect ${event.at}, was recorded ${event.recorded_at}`,
          },
          Date.parse(event.at) === Date.parse(event.recorded_at)
            ? instant(event.at)
            : `${day(event.at)}, recorded ${day(event.recorded_at)}`,
        ),
        Object.keys(event.details).length > 0 && details(event.details),
      ),
    ),
  );
}

function details(given) {
  const written = JSON.stringify(given, null, 1);
  return el(
    "details",
    {},
    el("summary", {}, excerpt(written.replace(/[{}"]/g, ""), 70)),
    el("pre", {}, visible(written)),
  );
}
