// What can be said of a memory: each verb as a button, with a small form where it needs words.

import { learn } from "./access.js";
import * as api from "./api.js";
import { el, say } from "./dom.js";
import { problem } from "./notices.js";

const VOICE = "memstore.source"; // who votes, for this tab

const ID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const VERBS = [
  {
    verb: "reinforce",
    label: "It helped",
    help: "It was used for an answer. Feeds use, and nothing else.",
  },
  {
    verb: "confirm",
    label: "Confirm",
    help: "A source holds it to be true. One vote per source counts, the last one.",
    fields: [
      { name: "source", label: "Who says so", voice: true },
      { name: "refresh", label: "seen to hold still: its age counts from now", type: "checkbox" },
    ],
  },
  {
    verb: "contradict",
    label: "Contradict",
    help: "A source holds it to be false. It stays valid, and is believed less.",
    fields: [{ name: "source", label: "Who says so", voice: true }],
  },
  {
    verb: "supersede",
    label: "Supersede",
    help: "Something else holds now. The old one ends, and is still found with “what held at”.",
    fields: [
      { name: "text", label: "What holds now: a text, or the id of a memory", type: "textarea" },
    ],
    body: ({ text }) => (ID.test(text) ? { new_id: text } : { text }),
  },
  {
    verb: "retract",
    label: "Retract",
    help: "It was never true: no query finds it. It stays listed, with its history.",
    fields: [{ name: "reason", label: "Why" }],
  },
  {
    verb: "importance",
    label: "Importance",
    help: "How much it matters, from −1 to 1; 1 pins it, 0 says nothing.",
    fields: [
      { name: "importance", label: "Importance", type: "number", min: -1, max: 1, step: 0.1 },
    ],
  },
];

/** Returns the buttons, and below them the form of the one that was pressed. `done(memory, verb)`. */
export function feedbackBar(memory, done) {
  const place = el("div", { class: "verb-form" });
  const buttons = VERBS.map((verb) =>
    el(
      "button",
      {
        type: "button",
        "aria-expanded": verb.fields ? "false" : null,
        title: verb.help,
        onclick: () => press(verb),
      },
      verb.label,
    ),
  );
  const expand = (verb) =>
    buttons.forEach(
      (button, index) =>
        VERBS[index].fields && button.setAttribute("aria-expanded", String(VERBS[index] === verb)),
    );

  const press = (verb) => {
    if (!verb.fields) return void tell(verb, {});
    const open = place.dataset.verb === verb.verb;
    place.replaceChildren();
    place.dataset.verb = open ? "" : verb.verb;
    expand(open ? null : verb);
    if (!open) place.append(form(verb, memory, (given) => void tell(verb, given)));
    place.querySelector("input, textarea")?.focus();
  };
  const tell = async (verb, given) => {
    try {
      const changed = await api.feedback(memory.id, verb.verb, given);
      say(`${verb.label}: done`);
      done(changed, verb.verb);
    } catch (error) {
      learn(error);
      place.dataset.verb = "";
      expand(null);
      place.replaceChildren(problem(error));
    }
  };
  return el(
    "div",
    { class: "feedback" },
    el(
      "div",
      { class: "buttons writes", role: "group", "aria-label": "Say something of it" },
      buttons,
    ),
    place,
  );
}

function form(verb, memory, submit) {
  const inputs = verb.fields.map((field) => [field, input(field, memory)]);
  const send = (event) => {
    event.preventDefault();
    const given = {};
    for (const [field, control] of inputs) {
      if (field.type === "checkbox") given[field.name] = control.checked;
      else if (field.type === "number") given[field.name] = Number(control.value);
      else given[field.name] = control.value.trim();
      if (field.voice) sessionStorage.setItem(VOICE, given[field.name]);
    }
    submit(verb.body ? verb.body(given) : given);
  };
  return el(
    "form",
    { onsubmit: send },
    el("p", { class: "help" }, verb.help),
    inputs.map(([field, control]) =>
      field.type === "checkbox"
        ? el("label", { class: "check" }, control, ` ${field.label}`)
        : el("label", { class: "field" }, el("span", {}, field.label), control),
    ),
    el("button", { type: "submit", class: "main" }, verb.label),
  );
}

function input(field, memory) {
  if (field.type === "textarea")
    return el("textarea", { name: field.name, rows: "3", required: true });
  if (field.type === "checkbox") return el("input", { type: "checkbox", name: field.name });
  const value =
    field.type === "number"
      ? String(memory.importance)
      : field.voice
        ? (sessionStorage.getItem(VOICE) ?? "")
        : "";
  const { type = "text", min = null, max = null, step = null } = field;
  return el("input", {
    type,
    min,
    max,
    step,
    name: field.name,
    required: true,
    autocomplete: "off",
    value,
  });
}
