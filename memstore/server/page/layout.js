// The switch between a list of memories and the same ones on a timeline.

import { el } from "./dom.js";
import { link } from "./state.js";

export function layoutSwitch(state) {
  const choice = (layout, label) =>
    el(
      "a",
      { href: link({ layout }, state), "aria-current": state.layout === layout ? "true" : null },
      label,
    );
  return el(
    "div",
    { class: "switch", role: "group", "aria-label": "Layout" },
    choice("list", "List"),
    choice("timeline", "Timeline"),
  );
}
