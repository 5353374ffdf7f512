// Who is mentioned with whom: an entity in the middle of its neighbours, and what is said of it.

import * as api from "./api.js";
import { card } from "./cards.js";
import { el, say, settled } from "./dom.js";
import { count, plural } from "./format.js";
import { network } from "./network.js";
import { empty, problem, waiting } from "./notices.js";
import { NO_FILTERS, go, link } from "./state.js";
import { name, plain } from "./text.js";

const AT_ONCE = 60; // entities in the list
const AROUND = 18; // neighbours in the picture
const TIES_OF = 10; // of these neighbours the ties among each other are asked for,
const TIES_WITHIN = 1500; // for so many milliseconds: of a large store each takes a while
const SHOWN = 5; // memories below

export async function showEntities(state, place, { signal }) {
  const found = el("ol", { class: "entities", "aria-busy": "true" }, waiting());
  const stage = el("div", { class: "stage" }, waiting());
  place.replaceChildren(
    el(
      "div",
      { class: "graph" },
      el(
        "section",
        { class: "names", "aria-label": "Entities" },
        prefixField(state, signal, found),
        found,
      ),
      stage,
    ),
  );
  const listing = listed(state, signal, found);
  const drawing = state.node ? drawn(state, signal, stage, state.node) : null;
  const entities = await listing;
  const middle = state.node || entities?.[0]?.name;
  markMiddle(found, middle);
  if (drawing) return await drawing;
  if (entities === null) return stage.replaceChildren();
  if (!middle) {
    const none = state.prefix
      ? "No entity begins so"
      : "No memory here mentions anybody or anything yet";
    return stage.replaceChildren(
      empty(
        none,
        "Entities are the names that the memories of a namespace mention. Choose another namespace above, or store more.",
      ),
    );
  }
  await drawn(state, signal, stage, middle);
}

function markMiddle(list, middle) {
  for (const row of list.querySelectorAll("a"))
    if (row.dataset.entity === middle) row.setAttribute("aria-current", "true");
}

/** The field changes the list at once, and the address when it is left: Back goes by entities. */
function prefixField(state, signal, list) {
  const look = settled(
    () => void listed({ ...state, prefix: input.value.trim() }, signal, list),
    150,
  );
  const input = el("input", {
    type: "search",
    name: "prefix",
    "aria-label": "Entities whose names begin so",
    placeholder: "Begins with …",
    value: state.prefix,
    oninput: look,
    onchange: () => go({ prefix: input.value.trim(), node: state.node }),
  });
  return input;
}

async function listed(state, signal, list, limit = AT_ONCE) {
  try {
    const { entities } = await api.entities(
      { namespace: state.ns, prefix: state.prefix, limit: limit + 1 },
      signal,
    );
    const most = Math.max(...entities.map((entity) => entity.memories), 1);
    const rows = entities.slice(0, limit).map((entity) => row(state, entity, most));
    const more = entities.length > limit && limit < 900;
    const again = () => void listed(state, signal, list, limit * 4);
    list.replaceChildren(
      ...rows,
      ...(more
        ? [el("li", {}, el("button", { type: "button", class: "link", onclick: again }, "More"))]
        : []),
    );
    if (entities.length === 0) list.replaceChildren(el("li", { class: "help" }, "None."));
    return entities;
  } catch (error) {
    if (error.name === "AbortError") return null;
    list.replaceChildren(
      el(
        "li",
        {},
        problem(error, () => go({})),
      ),
    );
    return null;
  } finally {
    list.setAttribute("aria-busy", "false");
  }
}

function row(state, entity, most) {
  const also = entity.aliases.length > 0 ? `, also ${entity.aliases.join(", ")}` : "";
  return el(
    "li",
    {},
    el(
      "a",
      {
        href: link({ node: entity.name, prefix: state.prefix }, state),
        "data-entity": entity.name,
        title: plain(`${entity.label ?? "entity"}${also}`),
      },
      name(entity.name),
      el("span", { class: "number" }, count(entity.memories)),
      el("span", {
        class: "share",
        "aria-hidden": "true",
        style: { width: `${(entity.memories / most) * 100}%` },
      }),
    ),
  );
}

async function drawn(state, signal, stage, middle) {
  stage.setAttribute("aria-busy", "true");
  stage.replaceChildren(waiting());
  try {
    await draw(state, signal, stage, middle);
  } catch (error) {
    if (error.name !== "AbortError") stage.replaceChildren(problem(error, () => go({})));
  } finally {
    stage.setAttribute("aria-busy", "false");
  }
}

async function draw(state, signal, stage, middle) {
  const { ns: namespace } = state;
  const where = { entity: middle };
  const [{ neighbours: around }, page, known] = await Promise.all([
    api.neighbours({ entity: middle, namespace, limit: AROUND }, signal),
    api.memories({ namespace, where, limit: SHOWN, newest_first: true }, signal),
    api.entities({ namespace, prefix: middle, limit: 200 }, signal),
  ]);
  if (around.length === 0 && page.memories.length === 0) {
    const about = ["In this namespace no memory is about ", name(middle), "."];
    return stage.replaceChildren(empty("Nothing here mentions it", ...about));
  }
  say(`${middle}: ${plural(around.length, "neighbour")}`);
  const centre = described(middle, known.entities);
  const picture = network(centre, around, { walk: (node) => go({ node }) });
  stage.replaceChildren(
    title(state, centre),
    around.length > 0 ? picture.element : alone(),
    ...below(state, centre, around, page),
  );
  if (around.length > 1) await addTies(state, signal, around, picture);
}

/** Returns what the list says of a name, which may be an alias. */
function described(middle, entities) {
  const small = middle.toLowerCase();
  const own = entities.find(
    (entity) => entity.name.toLowerCase() === small || entity.aliases.includes(small),
  );
  return {
    name: middle,
    canonical: own?.canonical ?? small,
    label: own?.label,
    memories: own?.memories ?? null, // of a name so short that hundreds begin like it
  };
}

function title(state, centre) {
  const all = { ...NO_FILTERS, entity: centre.name };
  return el(
    "div",
    { class: "head" },
    el("h1", {}, name(centre.name)),
    el(
      "p",
      { class: "count" },
      [centre.label, centre.memories && plural(centre.memories, "memory", "memories")]
        .filter(Boolean)
        .join(", "),
    ),
    el(
      "a",
      { class: "button", href: link({ ...all, view: "browse", layout: "list" }, state) },
      "Its memories",
    ),
    el(
      "a",
      { class: "button", href: link({ ...all, view: "browse", layout: "timeline" }, state) },
      "Its timeline",
    ),
  );
}

function alone() {
  return el(
    "p",
    { class: "help" },
    "No other entity is mentioned together with it by two memories or more, so there is nothing to draw.",
  );
}

function below(state, centre, around, page) {
  const both = (other) =>
    link(
      {
        ...NO_FILTERS,
        view: "browse",
        layout: "list",
        entity: centre.name,
        where: JSON.stringify({ entity: other.name }),
      },
      state,
    );
  const rows = around.map((other) =>
    el(
      "tr",
      {},
      el(
        "th",
        { scope: "row" },
        el("a", { href: link({ node: other.name }, state) }, name(other.name)),
      ),
      el(
        "td",
        { class: "number" },
        el(
          "a",
          { href: both(other), "aria-label": `${other.together} memories mention both` },
          count(other.together),
        ),
      ),
      el("td", { class: "number" }, count(other.memories)),
      el("td", { class: "number" }, other.npmi.toFixed(2)),
    ),
  );
  const table = el(
    "details",
    { class: "ties" },
    el("summary", {}, `The ${plural(around.length, "neighbour")} as a table`),
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          ["name", "with it", "in all", "npmi"].map((head) => el("th", { scope: "col" }, head)),
        ),
      ),
      el("tbody", {}, rows),
    ),
    el(
      "p",
      { class: "help" },
      "npmi: 0 where two are mentioned together no more often than by chance, 1 where never one without the other.",
    ),
  );
  return [
    around.length > 0 && table,
    el(
      "section",
      { class: "said", "aria-label": "Last said of it" },
      el("h2", {}, "Last said of it"),
      page.memories.map((memory) => card(memory)),
    ),
  ].filter(Boolean);
}

/** Asks who of the neighbours is tied to whom, a few at a time, and draws that too. */
async function addTies(state, signal, around, picture) {
  const present = new Set(around.map((node) => node.canonical));
  const ties = new Map();
  const waitingFor = around.slice(0, TIES_OF);
  const until = performance.now() + TIES_WITHIN;
  const work = async () => {
    for (
      let node = waitingFor.shift();
      node && performance.now() < until;
      node = waitingFor.shift()
    ) {
      const { neighbours } = await api.neighbours(
        { entity: node.name, namespace: state.ns, limit: 40 },
        signal,
      );
      for (const other of neighbours) {
        if (!present.has(other.canonical) || other.canonical === node.canonical) continue;
        const pair = [node.canonical, other.canonical].sort();
        ties.set(pair.join("\n"), { pair, npmi: other.npmi, together: other.together });
      }
    }
  };
  try {
    await Promise.all([work(), work()]);
  } catch (error) {
    if (error.name === "AbortError") return;
    picture.element.after(
      el(
        "p",
        { class: "help" },
        `The ties among the neighbours could not be had: ${error.message}`,
      ),
    );
    return;
  }
  picture.tie([...ties.values()]);
}
