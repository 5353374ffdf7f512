// When memories hold: a bar for each, from when it begins to when it ends, and what replaced what.

import { el, settled, svg } from "./dom.js";
import { begins, day, ends, happened, instant, standing } from "./format.js";
import { link } from "./state.js";
import { excerpt, name, plain } from "./text.js";

const ROW = 34;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const FAR = 5 * 365 * DAY; // an end that far ahead tells nothing: the axis does not reach for it

/** Returns a timeline of items {memory, note}; `moment` is what was asked for, in milliseconds. */
export function timeline(items, { signal, moment = Date.now() } = {}) {
  const rows = arranged(items);
  const whole = domainOf(rows, moment);
  let shown = { ...whole };
  const scale = el("div", { class: "scale" });
  const lanes = el("div", {
    class: "lanes",
    tabindex: "0",
    role: "group",
    "aria-label": "Timeline; arrow keys move it, plus and minus zoom, 0 shows all",
  });
  const labels = el(
    "ol",
    { class: "labels" },
    rows.map((row) => label(row, moment)),
  );

  const draw = () => {
    const width = lanes.clientWidth;
    if (width === 0) return;
    const x = (time) => ((time - shown.from) / (shown.to - shown.from)) * width;
    const ticks = ticksOf(shown, width);
    scale.replaceChildren(axis(ticks, x, width));
    lanes.replaceChildren(picture(rows, ticks, x, width, moment));
  };
  const zoom = (factor, at = (shown.from + shown.to) / 2) => {
    const span = Math.min(
      Math.max((shown.to - shown.from) * factor, HOUR),
      4 * (whole.to - whole.from),
    );
    const share = (at - shown.from) / (shown.to - shown.from);
    shown = { from: at - span * share, to: at + span * (1 - share) };
    draw();
  };
  const pan = (share) => {
    const by = (shown.to - shown.from) * share;
    shown = { from: shown.from + by, to: shown.to + by };
    draw();
  };
  const fit = () => {
    shown = { ...whole };
    draw();
  };
  listen(lanes, {
    zoom,
    pan,
    fit,
    timeAt: (x) => shown.from + (x / lanes.clientWidth) * (shown.to - shown.from),
  });
  const seen = new ResizeObserver(settled(draw, 30));
  seen.observe(lanes);
  signal?.addEventListener("abort", () => seen.disconnect());

  const button = (text, title, act) =>
    el("button", { type: "button", title, "aria-label": title, onclick: act }, text);
  return el(
    "section",
    { class: "timeline", "aria-label": "Timeline" },
    el(
      "div",
      { class: "tools" },
      legend(),
      el(
        "div",
        { class: "zoom" },
        button("−", "Zoom out", () => zoom(1.6)),
        button("+", "Zoom in", () => zoom(1 / 1.6)),
        button("Fit", "Show all", fit),
      ),
    ),
    el(
      "div",
      { class: "plot" },
      el("div", { class: "corner" }, "Times are UTC"),
      scale,
      labels,
      lanes,
    ),
  );
}

/** Versions of one thing stay together, in the order in which they hold. */
function arranged(items) {
  const group = new Map(items.map(({ memory }) => [memory.id, memory.id]));
  const root = (id) => (group.get(id) === id ? id : root(group.get(id)));
  const keys = new Map();
  for (const { memory } of items) {
    const key = memory.key === null ? null : JSON.stringify([memory.namespace, memory.key]);
    const kin = [memory.superseded_by, key === null ? null : keys.get(key)].filter((id) =>
      group.has(id),
    );
    for (const other of kin) group.set(root(memory.id), root(other));
    if (key !== null) keys.set(key, memory.id);
  }
  const first = new Map();
  for (const { memory } of items) {
    const of = root(memory.id);
    first.set(of, Math.min(first.get(of) ?? Infinity, begins(memory)));
  }
  return items
    .map((item) => ({
      ...item,
      start: begins(item.memory),
      end: ends(item.memory),
      group: root(item.memory.id),
    }))
    .sort(
      (one, other) =>
        first.get(one.group) - first.get(other.group) ||
        (one.group < other.group ? -1 : one.group > other.group ? 1 : one.start - other.start),
    );
}

function domainOf(rows, moment) {
  const far = Math.max(moment, ...rows.map((row) => row.start)) + FAR;
  const times = rows.flatMap((row) => [
    row.start,
    row.end,
    Date.parse(row.memory.occurred_at ?? ""),
  ]);
  const known = times.filter((time) => Number.isFinite(time) && time < far);
  let [from, to] = [Math.min(...known), Math.max(...known)];
  if (to - from < DAY) [from, to] = [from - DAY / 2, to + DAY / 2];
  // today is shown where it is near what is shown: most memories hold until then
  if (moment > to && moment - to < (to - from) * 0.5) to = moment;
  const margin = (to - from) * 0.04;
  return { from: from - margin, to: to + margin };
}

function label(row, moment) {
  const { memory, note } = row;
  const stands = standing(memory, moment);
  return el(
    "li",
    { class: stands.word, "data-id": memory.id },
    el(
      "a",
      { href: link({ memory: memory.id }), title: plain(excerpt(memory.text, 400)) },
      name(excerpt(memory.title ? `${memory.title}: ${memory.text}` : memory.text, 90)),
    ),
    note && el("span", { class: "note" }, note),
  );
}

function picture(rows, ticks, x, width, moment) {
  const height = rows.length * ROW;
  const middle = (index) => index * ROW + ROW / 2;
  const places = new Map(rows.map((row, index) => [row.memory.id, index]));
  const arrows = rows.flatMap((row, index) => {
    const to = places.get(row.memory.superseded_by);
    if (to === undefined) return [];
    const ended = Number.isFinite(row.end) ? row.end : rows[to].start;
    return [arrow(x(ended), middle(index), x(rows[to].start), middle(to))];
  });
  return svg(
    "svg",
    { width, height, "aria-hidden": "true" },
    svg("defs", {}, gradient(width), head()),
    ticks.map((tick) =>
      svg("line", { class: "grid", x1: x(tick.at), x2: x(tick.at), y1: 0, y2: height }),
    ),
    rows.map((row, index) => bar(row, middle(index), x, width, moment)),
    arrows,
    moment && svg("line", { class: "moment", x1: x(moment), x2: x(moment), y1: 0, y2: height }),
  );
}

function bar(row, y, x, width, moment) {
  const { memory, start, end } = row;
  const open = end === Infinity;
  const clamp = (value) => Math.min(Math.max(value, -20), width + 20);
  const left = clamp(x(start));
  const right = clamp(open ? width + 20 : x(end));
  const occurred = memory.occurred_at ? x(Date.parse(memory.occurred_at)) : null;
  const recorded = x(Date.parse(memory.recorded_at));
  const until = open ? "no end is known" : `held until ${instant(memory.valid_to)}`;
  return svg(
    "g",
    {
      class: `span ${standing(memory, moment).word}${open ? " open" : ""}`,
      "data-id": memory.id,
      "data-from": new Date(start).toISOString(),
      "data-to": open ? "" : new Date(end).toISOString(),
      onclick: () => (location.hash = link({ memory: memory.id })),
    },
    svg(
      "title",
      {},
      `${plain(excerpt(memory.text, 200))}\nfrom ${instant(new Date(start).toISOString())}, ${until}\nhappened: ${happened(memory)}`,
    ),
    svg("rect", { class: "reach", x: 0, y: y - ROW / 2, width, height: ROW }),
    svg("rect", {
      class: "bar",
      x: left,
      y: y - 6,
      width: Math.max(right - left, 5),
      height: 12,
      rx: 3,
      fill: open ? "url(#fade)" : null,
    }),
    occurred !== null &&
      svg("path", { class: "occurred", d: `M${occurred} ${y - 6}l6 6l-6 6l-6 -6z` }),
    svg("circle", { class: "recorded", cx: recorded, cy: y, r: 3.5 }),
  );
}

/** From the end of the old one to the beginning of the new one, above or below it. */
function arrow(x1, y1, x2, y2) {
  const way = y2 > y1 ? 1 : -1;
  const [from, to] = [y1 + 7 * way, y2 - 8 * way];
  const middle = (from + to) / 2;
  const d = `M${x1} ${from}C${x1} ${middle} ${x2} ${middle} ${x2} ${to}`;
  return svg("path", { class: "replaced", d, "marker-end": "url(#head)" });
}

/** What has no known end fades out towards the right edge. */
function gradient(width) {
  return svg(
    "linearGradient",
    { id: "fade", gradientUnits: "userSpaceOnUse", x1: Math.max(width - 120, 0), x2: width },
    svg("stop", { offset: "0", class: "solid" }),
    svg("stop", { offset: "1", class: "faded" }),
  );
}

function head() {
  return svg(
    "marker",
    {
      id: "head",
      viewBox: "0 0 8 8",
      refX: 7,
      refY: 4,
      markerWidth: 7,
      markerHeight: 7,
      orient: "auto",
    },
    svg("path", { class: "arrowhead", d: "M0 0.5L7 4L0 7.5z" }),
  );
}

function axis(ticks, x, width) {
  return svg(
    "svg",
    { width, height: 26, "aria-hidden": "true" },
    ticks.map((tick) => svg("text", { x: x(tick.at), y: 17, "text-anchor": "middle" }, tick.text)),
  );
}

const STEPS = [
  ...[1, 3, 6, 12].map((hours) => ({ unit: "hour", step: hours, span: hours * HOUR })),
  ...[1, 2, 7, 14].map((days) => ({ unit: "day", step: days, span: days * DAY })),
  ...[1, 3, 6].map((months) => ({ unit: "month", step: months, span: months * 30.4 * DAY })),
  ...[1, 2, 5, 10, 20, 50, 100, 500, 1000].map((years) => ({
    unit: "year",
    step: years,
    span: years * 365 * DAY,
  })),
];
const MONTH = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", month: "short" });
const HOURS = new Intl.DateTimeFormat("en-GB", {
  timeZone: "UTC",
  hour: "2-digit",
  minute: "2-digit",
});

function ticksOf({ from, to }, width) {
  const room = ((to - from) * 92) / Math.max(width, 92); // milliseconds per label
  const chosen = STEPS.find((step) => step.span >= room) ?? STEPS.at(-1);
  const ticks = [];
  for (let at = firstTick(from, chosen), next; at <= to && ticks.length < 100; at = next) {
    next = nextTick(at, chosen);
    if (at >= from) ticks.push({ at, text: tickText(at, chosen.unit) });
  }
  return ticks;
}

function firstTick(from, { unit, step }) {
  const date = new Date(from);
  const y = date.getUTCFullYear();
  if (unit === "year") return utc(Math.floor(y / step) * step, 0);
  if (unit === "month") return utc(y, Math.floor(date.getUTCMonth() / step) * step);
  const size = unit === "day" ? step * DAY : step * HOUR;
  return Math.floor(from / size) * size;
}

function nextTick(at, { unit, step }) {
  const date = new Date(at);
  if (unit === "year") return utc(date.getUTCFullYear() + step, 0);
  if (unit === "month") return utc(date.getUTCFullYear(), date.getUTCMonth() + step);
  return at + step * (unit === "day" ? DAY : HOUR);
}

function utc(year, month) {
  const date = new Date(Date.UTC(2000, month, 1));
  date.setUTCFullYear(year + Math.floor(month / 12)); // Date.UTC takes the years 0 to 99 for 1900 to 1999
  return date.getTime();
}

function tickText(at, unit) {
  const date = new Date(at);
  if (unit === "year") return String(date.getUTCFullYear());
  if (unit === "month")
    return date.getUTCMonth() === 0 ? String(date.getUTCFullYear()) : MONTH.format(date);
  if (unit === "day" || date.getUTCHours() === 0)
    return day(date.toISOString()).replace(/ \d{4}$/, "");
  return HOURS.format(date);
}

function listen(lanes, { zoom, pan, fit, timeAt }) {
  const keys = {
    ArrowLeft: () => pan(-0.15),
    ArrowRight: () => pan(0.15),
    "+": () => zoom(1 / 1.6),
    "=": () => zoom(1 / 1.6),
    "-": () => zoom(1.6),
    0: fit,
  };
  lanes.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  lanes.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // else it scrolls the page
      event.preventDefault();
      zoom(Math.exp(event.deltaY / 300), timeAt(event.offsetX));
    },
    { passive: false },
  );
  let held = null;
  lanes.addEventListener("pointerdown", (event) => {
    held = event.button === 0 ? { x: event.clientX, moved: false } : null;
  });
  lanes.addEventListener("pointermove", (event) => {
    if (!held || !(event.buttons & 1)) return;
    const by = event.clientX - held.x;
    if (!held.moved && Math.abs(by) < 4) return;
    held = { x: event.clientX, moved: true };
    lanes.setPointerCapture(event.pointerId);
    pan(-by / lanes.clientWidth);
  });
  // a drag is no click on the bar it began at
  lanes.addEventListener("click", (event) => held?.moved && event.stopPropagation(), true);
}

function legend() {
  const sample = (word, text) => el("span", { class: `sample ${word}` }, text);
  return el(
    "p",
    { class: "legend" },
    sample("current", "holds"),
    sample("ended", "held"),
    sample("replaced", "replaced by"),
    sample("occurred", "happened"),
    sample("recorded", "stored"),
  );
}
