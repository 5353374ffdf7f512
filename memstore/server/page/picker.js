// A field with a list of what may be chosen, by keyboard and for screen readers (ARIA combobox).

import { el, settled } from "./dom.js";
import { name } from "./text.js";

let made = 0;

/**
 * Returns a field that offers values.
 *
 * `offer(written)` returns or promises [{value, label, note}]; `choose(value)` is called with what
 * was chosen. With `free`, what was written may be chosen too, whether it is offered or not.
 */
export function picker({
  label,
  value = "",
  shown = value,
  placeholder = "",
  offer,
  choose,
  free = true,
  hidden = false,
}) {
  const list = el("ul", {
    id: `picker-${(made += 1)}`,
    role: "listbox",
    "aria-label": label,
    hidden: true,
  });
  const input = el("input", {
    type: "text",
    role: "combobox",
    "aria-label": hidden ? label : null,
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
    autocomplete: "off",
    spellcheck: "false",
    placeholder,
    value: shown,
  });
  let offered = [];
  let active = -1;
  let asked = 0;

  const close = () => {
    asked += 1;
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const take = (chosen) => {
    close();
    input.value = chosen.label;
    choose(chosen.value);
  };
  const mark = (index) => {
    list.children[active]?.removeAttribute("aria-selected");
    active = index;
    const option = list.children[active];
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) input.setAttribute("aria-activedescendant", option.id);
    else input.removeAttribute("aria-activedescendant");
  };
  const open = async (written) => {
    const turn = (asked += 1);
    let found;
    try {
      found = await offer(written);
    } catch (error) {
      if (error.name === "AbortError" || turn !== asked) return;
      found = [];
      list.replaceChildren(el("li", { class: "note", role: "presentation" }, error.message));
    }
    if (turn !== asked || !input.isConnected) return;
    offered = found;
    active = -1;
    if (offered.length > 0) list.replaceChildren(...offered.map(row));
    list.hidden = list.children.length === 0 || (offered.length === 0 && free);
    input.setAttribute("aria-expanded", String(!list.hidden));
  };
  const row = (option, index) =>
    el(
      "li",
      {
        id: `${list.id}-${index}`,
        role: "option",
        onmousedown: (event) => event.preventDefault(), // the field keeps the focus
        onclick: () => take(option),
      },
      name(option.label),
      option.note && el("span", { class: "note" }, option.note),
    );
  const openSoon = settled(open, 120);

  input.addEventListener("input", () => openSoon(input.value.trim()));
  input.addEventListener("focus", () => {
    input.select();
    void open("");
  });
  input.addEventListener("blur", () => {
    close();
    const written = input.value.trim();
    if (written === shown) return;
    if (free) {
      shown = written;
      choose(written);
    } else input.value = shown;
  });
  input.addEventListener("keydown", (event) => {
    const last = offered.length - 1;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) void open(input.value === shown ? "" : input.value.trim());
      else if (event.key === "ArrowDown") mark(active < last ? active + 1 : 0);
      else mark(active > 0 ? active - 1 : last);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (!list.hidden && active >= 0) return take(offered[active]);
      const written = input.value.trim();
      const same = offered.find((option) => option.label === written);
      if (same) take(same);
      else if (free) {
        shown = written;
        close();
        choose(written);
      }
    } else if (event.key === "Escape" && !list.hidden) {
      event.stopPropagation();
      input.value = shown;
      close();
    }
  });
  const field = el("div", { class: "picker" }, input, list);
  return hidden ? field : el("label", { class: "field" }, el("span", {}, label), field);
}
