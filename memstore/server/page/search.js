// The answer to a query: hits with why they are where they are, and what was left out and why.

import * as api from "./api.js";
import { card, facts, openUnlessUsed } from "./cards.js";
import { el, say } from "./dom.js";
import { chosen, filterBar, line, whereOf } from "./filters.js";
import { duration, instant, plural } from "./format.js";
import { layoutSwitch } from "./layout.js";
import { matchedText } from "./matches.js";
import { empty, problem, waiting } from "./notices.js";
import { scaleOf, scoreAndParts } from "./parts.js";
import { NO_FILTERS, go, link, read } from "./state.js";
import { name, visible } from "./text.js";
import { timeline } from "./timeline.js";

const PROFILES = ["semantic", "balanced", "recent", "trusted"];
const FLAGS = {
  query_truncated: "The question is longer than the encoder reads; its end was not looked at.",
  uncalibrated:
    "This scorer is not calibrated: only relevance counts, and there are no probabilities.",
  semantic_degenerate: "All candidates are equally relevant: only relevance counts.",
  clock_skew: "A memory begins a little in the future; that was forgiven as a clock ahead.",
  invalid_included: "Memories that do not hold are among the hits, 4 nats lower.",
  near_duplicate_guard: "Near-duplicates changed places.",
  not_reranked: "Some hits have no score of the reranker; they follow those that have one.",
  rerank_skipped: "The reranker failed: this is the order of retrieval.",
  page_not_logged: "What was shown could not be logged.",
  token_matches_unavailable:
    "The stored vectors of a hit are not those of its text now: its tokens cannot be shown.",
};

export async function showSearch(state, place, { signal }) {
  const list = el("div", { class: "list", "aria-busy": "true" });
  place.replaceChildren(filterBar(state), options(state), list);
  if (!state.q.trim()) {
    list.setAttribute("aria-busy", "false");
    list.replaceChildren(
      empty(
        "What do you want to know?",
        "Ask in the field above, in plain words. Each answer shows why it was found.",
      ),
    );
    return;
  }
  list.replaceChildren(waiting("Searching…"));
  let result;
  try {
    result = await api.query(request(state), signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    list.replaceChildren(problem(error, () => go({})));
    return;
  } finally {
    list.setAttribute("aria-busy", "false");
  }
  say(`${plural(result.hits.length, "answer")}`);
  const moment = Date.parse(result.as_of);
  const answers =
    result.hits.length === 0
      ? [nothing(state)]
      : state.layout === "timeline"
        ? [onTimeline(result, moment, signal)]
        : hitCards(result.hits, moment);
  list.replaceChildren(
    head(state, result),
    ...notes(state, result),
    ...answers,
    ...leftOut(result, moment),
  );
}

function request(state) {
  const given = {
    text: state.q,
    namespace: state.ns || undefined,
    limit: Number(state.limit) || 10,
    where: whereOf(state),
    profile: state.profile,
    as_of: utc(state.asof),
    known_at: utc(state.known),
    include_invalid: state.invalid === "1" || undefined,
    explain: true,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** What a field for a time holds is meant as UTC. */
function utc(written) {
  if (!written) return undefined;
  return /(?:Z|[+-]\d\d:\d\d)$/.test(written) ? written : `${written}Z`;
}

function options(state) {
  const choose = (field) => (value) => value !== read()[field] && go({ [field]: value });
  const invalid = el("input", {
    type: "checkbox",
    checked: state.invalid === "1",
    onchange: () => go({ invalid: invalid.checked ? "1" : "" }),
  });
  return el(
    "section",
    { class: "options", "aria-label": "How to search" },
    chosen("Profile", state.profile, [...new Set([...PROFILES, state.profile])], choose("profile")),
    line("What held at (UTC)", "datetime-local", state.asof, choose("asof")),
    line("As known by (UTC)", "datetime-local", state.known, choose("known")),
    chosen(
      "Hits",
      state.limit,
      [...new Set(["5", "10", "25", "50", state.limit])],
      choose("limit"),
    ),
    el("label", { class: "check" }, invalid, " also what does not hold"),
  );
}

function head(state, result) {
  const stages = Object.entries(result.took);
  const total = stages.reduce((sum, [, seconds]) => sum + seconds, 0);
  const told = stages.map(([stage, seconds]) => `${stage} ${duration(seconds)}`).join(" · ");
  const timing = el(
    "p",
    { class: "took", title: told },
    `in ${duration(total)}`,
    el(
      "span",
      { class: "stages", "aria-hidden": "true" },
      stages.map(([, seconds]) =>
        el("span", { style: { "flex-grow": String((100 * seconds) / total) } }),
      ),
    ),
    el("span", { class: "label" }, told),
  );
  const version = result.profile_version || result.profile;
  const then = state.asof ? [", as of ", instant(result.as_of)] : [];
  return el(
    "div",
    { class: "head" },
    el("h1", {}, plural(result.hits.length, "answer")),
    el(
      "p",
      { class: "count" },
      `profile ${version}`,
      then,
      result.exact_topk
        ? el(
            "span",
            { title: "Scoring every memory would certainly have given the same answers." },
            ", exact",
          )
        : "",
    ),
    timing,
    layoutSwitch(state),
  );
}

function notes(state, result) {
  const found = result.flags.map((flag) =>
    el("p", { class: "flag" }, el("code", {}, flag), " ", FLAGS[flag] ?? ""),
  );
  if (result.rerank_error) found.push(el("p", { class: "flag" }, visible(result.rerank_error)));
  const cue = result.temporal;
  if (cue) {
    const at = cue.suggested_as_of;
    found.push(
      el(
        "p",
        { class: "flag" },
        "“",
        name(cue.cue),
        `” asks for ${cue.kind === "current" ? "what holds now: currency counts more." : "the past: currency does not count."} `,
        at &&
          !state.asof &&
          el(
            "a",
            { href: link({ asof: at.replace(/(?::\d\d(?:\.\d+)?)?(?:Z|\+00:00)$/, "") }, state) },
            `Ask what held on ${instant(at)}`,
          ),
      ),
    );
  }
  return found.length > 0 ? [el("div", { class: "flags" }, found)] : [];
}

function nothing(state) {
  const dated = state.asof || state.known;
  return empty(
    "No memory answers this",
    dated
      ? "Nothing held at that time, or was known by then. "
      : "There is nothing in this namespace that passes the filters. ",
    el(
      "a",
      { href: link({ ...NO_FILTERS, asof: "", known: "" }, state) },
      "Ask without filters and times",
    ),
    ", or choose another namespace above.",
  );
}

function hitCards(hits, moment) {
  const scale = scaleOf(hits);
  return hits.map((hit) => hitCard(hit, scale, moment));
}

function hitCard(hit, scale, moment) {
  const { memory } = hit;
  const rank = el("span", { class: "rank", "aria-label": `Rank ${hit.rank}` }, String(hit.rank));
  return el(
    "article",
    {
      class: `card hit ${hit.status === "current" ? "" : hit.status}`,
      "data-id": memory.id,
      onclick: openUnlessUsed,
    },
    rank,
    el(
      "div",
      { class: "card-body" },
      memory.title && el("h3", {}, name(memory.title)),
      matchedText(hit),
      facts(memory, moment),
    ),
    scoreAndParts(hit, scale, hit.explanation && explained(hit)),
  );
}

function explained(hit) {
  const { semantic_rank: first, scale, flags } = hit.explanation;
  const moved = first === hit.rank ? [] : [`rank ${first} by relevance alone`];
  const capped =
    scale < 0.95
      ? [
          `all but relevance × ${scale.toFixed(2)}, by the cap of ${plural(hit.explanation.cap, "nat")}`,
        ]
      : [];
  const told = [...moved, ...capped, ...flags.map((flag) => flag.replaceAll("_", " "))];
  return told.length > 0 && el("p", { class: "explained" }, told.join(" · "));
}

function onTimeline(result, moment, signal) {
  const items = [
    ...result.hits.map((hit) => ({ memory: hit.memory, note: `answer ${hit.rank}` })),
    ...result.suppressed.map((item) => ({ memory: item.memory, note: "left out" })),
  ];
  return timeline(items, { signal, moment });
}

function leftOut(result, moment) {
  const sections = [];
  if (result.suppressed.length > 0) {
    sections.push(
      el(
        "section",
        { class: "left-out", "aria-label": "Left out because it does not hold" },
        el("h2", {}, "Left out, because it does not hold"),
        el(
          "p",
          { class: "help" },
          "These would have been among the answers, had they held at the time asked for.",
        ),
        result.suppressed.map((item) => lesser(item.memory, item.reason, item.current_id, moment)),
      ),
    );
  }
  if ((result.dropped ?? []).length > 0) {
    const why = {
      over_budget: "more tokens than were left",
      near_duplicate: "a better answer says nearly the same",
    };
    sections.push(
      el(
        "section",
        { class: "left-out", "aria-label": "Left out as asked" },
        el("h2", {}, "Left out, as the query asked"),
        result.dropped.map((item) =>
          lesser(
            item.memory,
            why[item.reason] ?? item.reason,
            item.like,
            moment,
            "the better answer",
          ),
        ),
      ),
    );
  }
  return sections;
}

function lesser(memory, reason, instead, moment, called = "what holds instead") {
  const shown = card(memory, { moment });
  const told = reason.replace(/\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b/g, (id) =>
    id === instead ? "another memory" : `memory ${id}`,
  );
  shown
    .querySelector(".card-body")
    .prepend(
      el(
        "p",
        { class: "reason" },
        visible(readable(told)),
        instead && [": ", el("a", { class: "instead", href: link({ memory: instead }) }, called)],
      ),
    );
  return shown;
}

function readable(reason) {
  return reason.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (at) => instant(at));
}
