// The page: reads the state from the address, and shows the view and the panel that it names.

import { permissions, reach, root } from "./access.js";
import * as api from "./api.js";
import { showBrowse } from "./browse.js";
import { askForToken } from "./dialog.js";
import { el } from "./dom.js";
import { showEntities } from "./entities.js";
import { count } from "./format.js";
import { showMemory } from "./memory.js";
import { picker } from "./picker.js";
import { showSearch } from "./search.js";
import { go, link, read, withoutPanel } from "./state.js";

const VIEWS = {
  browse: { label: "Browse", show: showBrowse },
  search: { label: "Search", show: showSearch },
  entities: { label: "Entities", show: showEntities },
};
const main = document.getElementById("main");
const panel = document.getElementById("panel");
const query = document.getElementById("query");

let namespaces = [];
let base = null; // the namespace that is read where none is named, once it is known
let known = Promise.resolve(); // that these are the ones of the store
let shown = null; // the state of the view, without the panel
let opened = ""; // the memory in the panel
let leaving = new AbortController(); // of the view
let closing = new AbortController(); // of the panel

async function show({ anew = false } = {}) {
  const state = read();
  const viewed = anew || withoutPanel(state) !== shown ? showView(state, anew) : null;
  if (state.memory !== opened) showPanel(state.memory);
  markOpened(state.memory);
  await viewed;
}

async function showView(state, anew) {
  const same = shown !== null && JSON.parse(shown).view === state.view;
  shown = withoutPanel(state);
  leaving.abort();
  leaving = new AbortController();
  query.value = state.q;
  document.title = [state.view === "search" && state.q, VIEWS[state.view].label, "memstore"]
    .filter(Boolean)
    .join(" · ");
  document
    .getElementById("views")
    .replaceChildren(
      ...Object.entries(VIEWS).map(([view, { label }]) =>
        el(
          "a",
          { href: link({ view }, state), "aria-current": view === state.view ? "page" : null },
          label,
        ),
      ),
    );
  drawNamespaces(state);
  // the same view drawn anew stays where it was scrolled to
  main.style.minHeight = anew ? `${main.offsetHeight}px` : "";
  const focused = same && main.contains(document.activeElement) ? document.activeElement.name : "";
  const done = VIEWS[state.view].show(state, main, { signal: leaving.signal, total });
  if (focused) main.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
  if (!anew) scrollTo(0, 0);
  await done;
  main.style.minHeight = "";
  document.getElementById("signout").hidden = !api.hasToken();
  markOpened(read().memory);
}

function showPanel(id) {
  opened = id;
  closing.abort();
  closing = new AbortController();
  panel.hidden = id === "";
  document.body.classList.toggle("with-panel", id !== "");
  if (id === "") return panel.replaceChildren();
  panel.scrollTop = 0;
  void showMemory(id, panel, closing.signal);
}

function markOpened(id) {
  for (const element of main.querySelectorAll("[data-id]"))
    element.classList.toggle("opened", id !== "" && element.dataset.id === id);
}

/** Promises how many memories a namespace and all below it hold. */
async function total(namespace) {
  await known;
  return counted(namespace);
}

function counted(asked) {
  const namespace = asked || base;
  return namespaces
    .filter(({ name }) => !namespace || name === namespace || name.startsWith(`${namespace}/`))
    .reduce((sum, { memories }) => sum + memories, 0);
}

function drawNamespaces(state) {
  const all = base === null ? "" : base || "All namespaces";
  const field = picker({
    label: "Namespace",
    value: state.ns,
    shown: state.ns || all,
    hidden: true,
    offer: (written) => offerNamespaces(all, written.toLowerCase()),
    choose: (value) =>
      value !== read().ns && go({ ns: value === all ? "" : value, node: "", prefix: "" }),
  });
  document.getElementById("namespace").replaceChildren(field);
}

async function offerNamespaces(all, written) {
  await known;
  const reached = await reach();
  const beginnings = (path) =>
    path.split("/").map((_, at, parts) => parts.slice(0, at + 1).join("/"));
  const paths = [...new Set(namespaces.flatMap(({ name }) => beginnings(name)))]
    .filter((path) => path !== base && reached(path))
    .sort();
  return [{ value: "", label: all }, ...paths.map((path) => ({ value: path, label: path }))]
    .filter(({ label }) => label.toLowerCase().includes(written))
    .slice(0, 100)
    .map((option) => ({ ...option, note: count(counted(option.value)) }));
}

async function learnBase() {
  try {
    base = await root();
    drawNamespaces(read());
  } catch (error) {
    if (error.status === undefined) throw error;
  }
}

async function learnNamespaces() {
  try {
    await learnBase();
    ({ namespaces } = await api.namespaces());
    document.body.classList.toggle("one-namespace", namespaces.length < 2);
  } catch (error) {
    if (error.status === undefined) throw error;
    namespaces = []; // the view asks the same server, and says what is wrong
  }
}

function listen() {
  window.addEventListener("hashchange", () => void show());
  document.getElementById("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    go({ view: "search", q: query.value.trim() });
  });
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  document.getElementById("signout").addEventListener("click", () => {
    api.dropToken();
    location.reload();
  });
  document.addEventListener("forgotten", async ({ detail }) => {
    const gone = new Set(detail.ids);
    for (const element of main.querySelectorAll("[data-id]"))
      if (gone.has(element.dataset.id)) element.remove();
    if (gone.has(read().memory)) location.hash = link({ memory: "" });
    known = show({ anew: true }).then(learnNamespaces);
  });
  for (const told of ["changed", "again"]) {
    document.addEventListener(told, () => void show({ anew: true }));
  }
  document.addEventListener("keydown", keys);
}

function keys(event) {
  if (
    event.defaultPrevented ||
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    document.querySelector("dialog[open]")
  )
    return;
  const writing = event.target.closest("input, textarea, select");
  if (event.key === "Escape" && read().memory) return void (location.hash = link({ memory: "" }));
  if (writing) return;
  if (event.key === "/") {
    event.preventDefault();
    query.focus();
    query.select();
  } else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
}

/** Moves the focus to the next memory of the list, or the one before. */
function step(by) {
  const links = [...main.querySelectorAll(".card a.when, .labels a")];
  const at = links.findIndex((one) => one.closest("[data-id]").contains(document.activeElement));
  links[
    Math.min(Math.max(at === -1 ? (by > 0 ? 0 : links.length - 1) : at + by, 0), links.length - 1)
  ]?.focus();
}

api.whenTokenIsNeeded(askForToken);
listen();
void permissions().catch(() => null); // beside the view; what is wrong, the view says too
// the view first: counting the namespaces of a large store takes as long as a page of the list
known = show().then(learnNamespaces);
