// What is looked at: the filters of a view, as fields, and as the `where` of the store.

import * as api from "./api.js";
import { el } from "./dom.js";
import { plural } from "./format.js";
import { picker } from "./picker.js";
import { FILTERS, NO_FILTERS, go, link, read } from "./state.js";
import { name, plain } from "./text.js";

const LABELS = {
  source: "source",
  kind: "kind",
  session: "session",
  key: "key",
  entity: "entity",
  from: "from",
  to: "until",
  where: "filter",
};
let open = false; // stays as it was while views change

/** A filter that is no JSON object: said in place of an answer. */
class Malformed extends Error {
  constructor(detail) {
    super(detail);
    this.title = "The filter is not JSON";
    this.detail = detail;
    this.status = 422;
  }
}

/** Returns the filter of a state, undefined without one. Throws Malformed. */
export function whereOf(state) {
  const all = {};
  for (const field of ["source", "kind", "session", "key", "entity"])
    if (state[field]) all[field] = state[field];
  const happened = {};
  if (state.from) happened.gte = `${state.from}T00:00:00Z`;
  if (state.to) happened.lt = new Date(Date.parse(state.to) + 86_400_000).toISOString();
  if (state.from || state.to) all.occurred_at = happened;
  if (state.where) all.and = [written(state.where)];
  return Object.keys(all).length > 0 ? all : undefined;
}

function written(text) {
  let filter;
  try {
    filter = JSON.parse(text);
  } catch (error) {
    throw new Malformed(
      `${error.message}. Write it as {"metadata.topic": {"in": ["billing", "tax"]}}.`,
    );
  }
  if (filter === null || typeof filter !== "object" || Array.isArray(filter)) {
    throw new Malformed(`It is ${text}; write an object such as {"source": "crm"}.`);
  }
  return filter;
}

/** Returns the bar of filters: those that count, each with a button to drop it, and the fields. */
export function filterBar(state) {
  const set = FILTERS.filter((field) => state[field]);
  const fields = el("div", { class: "fields", id: "fields", hidden: !open }, ...fieldsOf(state));
  const toggle = el(
    "button",
    {
      type: "button",
      class: "quiet",
      "aria-expanded": String(open),
      "aria-controls": "fields",
      onclick: () => {
        open = !open;
        fields.hidden = !open;
        toggle.setAttribute("aria-expanded", String(open));
        if (open) fields.querySelector("input, select, textarea").focus();
      },
    },
    "Filters",
  );
  const chips = set.map((field) =>
    el(
      "a",
      {
        class: "chip",
        href: link({ [field]: "" }, state),
        "aria-label": plain(`Drop the filter ${LABELS[field]} ${state[field]}`),
      },
      el("span", { class: "label" }, LABELS[field]),
      name(state[field]),
      el("span", { class: "cross", "aria-hidden": "true" }, "×"),
    ),
  );
  return el(
    "section",
    { class: "filters", "aria-label": "Filters" },
    el(
      "div",
      { class: "chips" },
      toggle,
      chips,
      set.length > 1 && el("a", { class: "chip plain", href: link(NO_FILTERS, state) }, "Drop all"),
    ),
    fields,
  );
}

function fieldsOf(state) {
  const choose = (field) => (value) => value !== read()[field] && go({ [field]: value });
  return [
    picker({
      label: "Source",
      value: state.source,
      placeholder: "any",
      offer: offerSources,
      choose: choose("source"),
    }),
    picker({
      label: "Entity",
      value: state.entity,
      placeholder: "any",
      offer: async (prefix) => offerEntities(state.ns, prefix),
      choose: choose("entity"),
    }),
    line("Kind", "text", state.kind, choose("kind")),
    line("Session", "text", state.session, choose("session")),
    line("Key", "text", state.key, choose("key")),
    line("Happened from", "date", state.from, choose("from")),
    line("Happened until", "date", state.to, choose("to")),
    jsonField(state, choose("where")),
  ];
}

/** Returns a labelled field that gives its value when it has changed. */
export function line(label, type, value, choose) {
  const give = () => choose(input.value.trim());
  const text = type === "text";
  // a date has changed with each digit of it, so it counts when it is left, or on Enter
  const input = el("input", {
    type,
    value,
    name: label,
    placeholder: text ? "any" : "",
    ...(text
      ? { onchange: give }
      : { onblur: give, onkeydown: (event) => event.key === "Enter" && give() }),
  });
  return el("label", { class: "field" }, el("span", {}, label), input);
}

/** Returns a labelled field to choose one of some values. */
export function chosen(label, value, values, choose) {
  const options = values.map((item) =>
    el("option", { value: item, selected: item === value }, item),
  );
  const select = el("select", { name: label, onchange: () => choose(select.value) }, options);
  return el("label", { class: "field" }, el("span", {}, label), select);
}

function jsonField(state, choose) {
  const area = el("textarea", {
    rows: "2",
    name: "where",
    spellcheck: "false",
    "aria-describedby": "where-help",
    placeholder: '{"metadata.topic": {"in": ["billing", "tax"]}}',
    value: state.where,
    onkeydown: (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) choose(area.value.trim());
    },
  });
  return el(
    "div",
    { class: "field wide" },
    el("label", {}, el("span", {}, "Any other filter, as JSON"), area),
    el(
      "p",
      { class: "help", id: "where-help" },
      el("button", { type: "button", onclick: () => choose(area.value.trim()) }, "Apply"),
      " Operators: eq ne in nin gt gte lt lte exists contains; or, and, not. Ctrl+Enter applies it.",
    ),
  );
}

let sources = null;

async function offerSources(written) {
  // of the whole store: a caller that may see a part of it writes the name
  sources ??= api.stats().then(
    (stats) => Object.entries(stats.sources ?? {}),
    (error) => (error.status === 403 ? [] : Promise.reject(error)),
  );
  sources.catch(() => (sources = null));
  const found = (await sources).filter(([label]) =>
    label.toLowerCase().includes(written.toLowerCase()),
  );
  return found.slice(0, 50).map(([label, memories]) => ({
    value: label,
    label,
    note: plural(memories, "memory", "memories"),
  }));
}

/** Returns the most mentioned entities whose names begin so, for a picker. */
export async function offerEntities(namespace, prefix) {
  const found = await api.entities({ namespace, prefix, limit: 20 });
  return found.entities.map((entity) => ({
    value: entity.name,
    label: entity.name,
    note: plural(entity.memories, "memory", "memories"),
  }));
}
