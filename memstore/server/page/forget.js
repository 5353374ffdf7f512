// Forgetting: first what would go, then the question, then the deed.

import { everything, learn } from "./access.js";
import * as api from "./api.js";
import { ask } from "./dialog.js";
import { el, say } from "./dom.js";
import { bytes, count, plural } from "./format.js";
import { problem, waiting } from "./notices.js";
import { excerpt, name } from "./text.js";

const SHOWN = 5;
const NAMES = {
  memories: ["memory", "memories"],
  passages: ["passage", "passages"],
  entities: ["name that nothing else mentions", "names that nothing else mentions"],
  vectors: ["token vector", "token vectors"],
  events: ["event of their history", "events of their history"],
  aliases: ["alias", "aliases"],
  namespaces: ["namespace that is empty then", "namespaces that are empty then"],
  sources: ["source that nothing else names", "sources that nothing else name"],
  pages: ["logged page", "logged pages"],
  segments: ["segment of the index, written anew", "segments of the index, written anew"],
  centroids: ["centroid of the index, replaced", "centroids of the index, replaced"],
};

/** Asks, and forgets what is meant: {ids} or {where, namespace}; `memories` are shown, as far as known. */
export async function forgetDialog(meant, memories = []) {
  const wanted =
    "ids" in meant ? meant : { ...meant, namespace: meant.namespace || (await everything()) };
  const report = await ask("Forget", (close) => question(wanted, memories, close));
  if (report === null) return;
  say(`${plural(report.ids.length, "memory", "memories")} forgotten`);
  document.dispatchEvent(new CustomEvent("forgotten", { detail: report }));
}

function question(wanted, memories, close) {
  const told = el("div", { class: "told", "aria-live": "polite" });
  const purge = el("input", { type: "checkbox", onchange: () => void look() });
  const typed = el("input", {
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => allow(),
  });
  const typedLabel = el("span", {});
  const typing = el("label", { class: "field", hidden: true }, typedLabel, typed);
  const deed = el(
    "button",
    { type: "button", class: "main danger", disabled: true, onclick: () => void act() },
    "Forget",
  );
  let asked = 0;
  let needed = null; // what has to be typed first: more than one, or for good

  const allow = () =>
    (deed.disabled = needed === null || (needed !== "" && typed.value.trim() !== needed));

  const look = async () => {
    const turn = (asked += 1);
    deed.disabled = true;
    told.replaceChildren(waiting("Looking what would go…"));
    try {
      const report = await api.forget({ ...wanted, purge: purge.checked, dry_run: true });
      if (turn !== asked) return;
      told.replaceChildren(...preview(report, memories));
      const several = report.ids.length > 1;
      needed =
        report.ids.length === 0
          ? null
          : several
            ? String(report.ids.length)
            : purge.checked
              ? "purge"
              : "";
      typing.hidden = !needed;
      typedLabel.textContent = several
        ? `Type the number of memories, ${needed}, to go on`
        : "Type purge to go on";
      typed.value = "";
      deed.textContent = `${purge.checked ? "Purge" : "Forget"} ${plural(report.ids.length, "memory", "memories")}`;
      allow();
    } catch (error) {
      refuse(error);
    }
  };
  const act = async () => {
    deed.disabled = true;
    deed.textContent = purge.checked ? "Purging…" : "Forgetting…";
    asked += 1;
    try {
      const report = await api.forget({ ...wanted, purge: purge.checked });
      if (report.purged) await told_(report, told, close);
      else close(report);
    } catch (error) {
      refuse(error);
    }
  };
  const refuse = (error) => {
    learn(error);
    told.replaceChildren(problem(error));
    typing.hidden = true;
    deed.disabled = true;
  };

  void look();
  return [
    el("h2", {}, "Forget?"),
    told,
    el(
      "label",
      { class: "check" },
      purge,
      el(
        "span",
        {},
        el("b", {}, "Purge: "),
        "leave no byte of it in any file of the store. Without, it is in no result from now on, and its history still says that there was something. A purge writes the database anew, which takes a while.",
      ),
    ),
    typing,
    el(
      "div",
      { class: "actions" },
      deed,
      el("button", { type: "button", autofocus: true, onclick: () => close() }, "Cancel"),
    ),
  ];
}

function preview(report, memories) {
  if (report.ids.length === 0) return [el("p", {}, "Nothing would go: no memory is meant.")];
  const known = new Map(memories.map((memory) => [memory.id, memory]));
  const shown = report.ids.filter((id) => known.has(id)).slice(0, SHOWN);
  const rest = report.ids.length - shown.length;
  return [
    el("p", {}, "This would go, and does not come back:"),
    shown.length > 0 &&
      el(
        "ul",
        { class: "going" },
        shown.map((id) => el("li", {}, name(excerpt(known.get(id).text, 140)))),
        rest > 0 && el("li", {}, `and ${count(rest)} more`),
      ),
    removed(report),
  ].filter(Boolean);
}

function removed(report) {
  const things = Object.entries(report.removed).filter(([, number]) => number > 0);
  return el(
    "ul",
    { class: "removed" },
    things.map(([what, number]) =>
      el("li", { "data-what": what }, plural(number, ...(NAMES[what] ?? [what, what]))),
    ),
  );
}

/** After a purge: what went, as a receipt, until it was read. */
function told_(report, told, close) {
  const size =
    report.bytes_before === null
      ? ""
      : ` The files had ${bytes(report.bytes_before)}, and have ${bytes(report.bytes_after)} now.`;
  const dialog = told.closest("dialog");
  dialog.addEventListener("cancel", () => close(report));
  dialog.replaceChildren(
    el("h2", {}, "Purged"),
    el("p", {}, `No byte of it is left in any file of the store.${size}`),
    removed(report),
    el(
      "div",
      { class: "actions" },
      el(
        "button",
        { type: "button", class: "main", autofocus: true, onclick: () => close(report) },
        "Good",
      ),
    ),
  );
  dialog.querySelector("button").focus();
}
