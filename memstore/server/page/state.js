// What the page shows is in the address behind the #, so that links can be shared and Back works.

const DEFAULTS = {
  view: "browse", // browse | search | entities
  ns: "", // the namespace; "" is what is read where none is named
  q: "", // the query
  profile: "balanced",
  asof: "", // as in the fields: 2026-03-02T09:00, UTC
  known: "",
  invalid: "", // "1": what does not hold is let in
  limit: "10",
  layout: "list", // list | timeline
  source: "",
  kind: "",
  session: "",
  key: "",
  entity: "",
  from: "", // a day
  to: "",
  where: "", // a filter as JSON
  cursor: "", // of the page of the list
  page: "1",
  prefix: "", // of the names of entities
  node: "", // the entity in the middle of the graph
  memory: "", // the one in the panel
};
const VIEWS = ["browse", "search", "entities"];
const OF_PLACE = ["memory", "cursor", "page"]; // gone when something else changes
const KEEP_PLACE = ["layout", "memory", "cursor", "page"];

export const FILTERS = ["source", "kind", "session", "key", "entity", "from", "to", "where"];
export const NO_FILTERS = Object.fromEntries(FILTERS.map((name) => [name, ""]));

/** Returns the state in the address, or in a link; what is not in it has its default. */
export function read(hash = location.hash) {
  const [view, written = ""] = hash.slice(1).split(/\?(.*)/s);
  const state = { ...DEFAULTS, view: VIEWS.includes(view) ? view : DEFAULTS.view };
  for (const [name, value] of new URLSearchParams(written)) {
    if (name in DEFAULTS && name !== "view") state[name] = value;
  }
  return state;
}

/** Returns a link to the state with some changes; a change of what is listed begins it anew. */
export function link(changes, state = read()) {
  const anew = Object.keys(changes).some((name) => !KEEP_PLACE.includes(name));
  const begun = anew
    ? { ...state, ...Object.fromEntries(OF_PLACE.map((name) => [name, DEFAULTS[name]])) }
    : state;
  const next = { ...begun, ...changes };
  const given = Object.entries(next).filter(
    ([name, value]) => name !== "view" && value !== DEFAULTS[name],
  );
  const written = new URLSearchParams(given).toString();
  return `#${next.view}${written ? `?${written}` : ""}`;
}

/** Goes to the state with some changes; Back returns from it. To the same one it goes anew. */
export function go(changes) {
  const target = link(changes);
  if (JSON.stringify(read(target)) !== JSON.stringify(read())) location.hash = target;
  else document.dispatchEvent(new Event("again"));
}

/** Returns what of a state a view is made of: all but the memory in the panel. */
export function withoutPanel(state) {
  return JSON.stringify({ ...state, memory: "" });
}
