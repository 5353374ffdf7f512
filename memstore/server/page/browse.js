// All memories of a namespace that a filter lets through, newest first, page by page.

import * as api from "./api.js";
import { card } from "./cards.js";
import { el, say } from "./dom.js";
import { filterBar, whereOf } from "./filters.js";
import { forgetDialog } from "./forget.js";
import { count, plural } from "./format.js";
import { layoutSwitch } from "./layout.js";
import { empty, problem, waiting } from "./notices.js";
import { NO_FILTERS, go, link } from "./state.js";
import { timeline } from "./timeline.js";

const PAGE = 50;
const newer = new Map(); // cursor of a page → cursor of the one before, as far as it was seen

/** Shows the view in `place`; `total(namespace)` is how many memories there are without a filter. */
export async function showBrowse(state, place, { signal, total }) {
  const list = el("div", { class: "list", "aria-busy": "true" }, waiting());
  const head = el("div", { class: "head" }, el("h1", {}, "Memories"), layoutSwitch(state));
  place.replaceChildren(filterBar(state), head, list);
  let where;
  let page;
  try {
    where = whereOf(state);
    page = await api.memories(
      { namespace: state.ns, where, limit: PAGE, cursor: state.cursor, newest_first: true },
      signal,
    );
  } catch (error) {
    if (error.name === "AbortError") return;
    list.replaceChildren(problem(error, () => go({})));
    return;
  } finally {
    list.setAttribute("aria-busy", "false");
  }
  const { memories, cursor } = page;
  if (memories.length === 0) {
    list.replaceChildren(nothing(state, where));
    return;
  }
  const first = (Number(state.page) - 1) * PAGE + 1;
  const range = `${count(first)}–${count(first + memories.length - 1)}`;
  const told = el("p", { class: "count" });
  head.querySelector("h1").after(told);
  const tell = (shown) => (told.textContent = `${shown}, last stored first`);
  if (cursor || first > 1) {
    tell(range);
    if (!where) total(state.ns).then((all) => all > 0 && tell(`${range} of ${count(all)}`));
  } else tell(plural(memories.length, "memory", "memories"));
  say(`${plural(memories.length, "memory", "memories")} shown`);
  const pages = () => pager(state, cursor);
  if (state.layout === "timeline") {
    list.replaceChildren(
      timeline(
        memories.map((memory) => ({ memory })),
        { signal },
      ),
      pages(),
    );
    return;
  }
  const chosen = new Map();
  const bar = selectionBar(state, where, chosen, memories);
  const select = (memory, on) => {
    if (on) chosen.set(memory.id, memory);
    else chosen.delete(memory.id);
    bar.update();
  };
  list.replaceChildren(bar.element, ...memories.map((memory) => card(memory, { select })), pages());
}

function nothing(state, where) {
  if (state.cursor) {
    return empty(
      "Nothing further back",
      el("a", { href: link({ cursor: "", page: "1" }, state) }, "Go to the newest memories"),
      ".",
    );
  }
  if (where) {
    return empty(
      "No memory passes the filter",
      "Drop a part of it above, or ",
      el("a", { href: link(NO_FILTERS, state) }, "drop all"),
      ".",
    );
  }
  return empty(
    "Nothing is stored here yet",
    "Store something: ",
    el("code", {}, 'memstore add "Ana moved to Lisbon."'),
    ", or choose another namespace above.",
  );
}

function pager(state, cursor) {
  const number = Number(state.page);
  if (cursor) newer.set(cursor, state.cursor);
  const back = newer.get(state.cursor);
  const turn = (to, on) => link({ cursor: to, page: String(number + on), memory: "" }, state);
  if (!state.cursor && !cursor) return [];
  return el(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    state.cursor &&
      number > 2 &&
      el(
        "a",
        { class: "button", href: link({ cursor: "", page: "1", memory: "" }, state) },
        "Newest",
      ),
    back !== undefined &&
      el("a", { class: "button", rel: "prev", href: turn(back, -1) }, "← Newer"),
    state.cursor &&
      back === undefined &&
      number <= 2 &&
      el(
        "a",
        { class: "button", href: link({ cursor: "", page: "1", memory: "" }, state) },
        "← Newer",
      ),
    el("span", { class: "count" }, `Page ${count(number)}`),
    cursor && el("a", { class: "button", rel: "next", href: turn(cursor, 1) }, "Older →"),
  );
}

function selectionBar(state, where, chosen, memories) {
  const told = el("span", { class: "count", "aria-live": "polite" });
  const some = el(
    "button",
    {
      type: "button",
      class: "danger",
      hidden: true,
      onclick: () => forgetDialog({ ids: [...chosen.keys()] }, [...chosen.values()]),
    },
    "Forget them…",
  );
  const every =
    where &&
    el(
      "button",
      {
        type: "button",
        class: "quiet danger",
        onclick: () => forgetDialog({ where, namespace: state.ns }, memories),
      },
      "Forget all that pass the filter…",
    );
  return {
    element: el("div", { class: "selection writes" }, told, some, every),
    update() {
      told.textContent = chosen.size > 0 ? `${count(chosen.size)} selected` : "";
      some.hidden = chosen.size === 0;
    },
  };
}
