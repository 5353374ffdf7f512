// A question in front of the page, that Escape and "Cancel" answer with no.

import { el } from "./dom.js";

/** Opens a dialog; `fill(close)` returns what is in it. Returns a promise of what it is closed with. */
export function ask(label, fill) {
  const opener = document.activeElement;
  return new Promise((resolve) => {
    const dialog = el("dialog", { "aria-label": label });
    let answer = null;
    const close = (value = null) => {
      answer = value;
      dialog.close();
    };
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (opener?.isConnected) opener.focus();
      resolve(answer);
    });
    dialog.append(...[fill(close)].flat());
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Asks for the token of the server; null if there is none. */
export function askForToken(refused) {
  return ask("A token is needed", (close) => {
    const input = el("input", {
      type: "password",
      name: "token",
      autocomplete: "off",
      spellcheck: "false",
      required: true,
      autofocus: true,
    });
    const submit = (event) => {
      event.preventDefault();
      if (input.value.trim()) close(input.value.trim());
    };
    return el(
      "form",
      { onsubmit: submit },
      el("h2", {}, "A token is needed"),
      refused &&
        el(
          "p",
          { class: "refused", role: "alert" },
          "The server does not know this token. Look whether all of it was copied.",
        ),
      el(
        "p",
        {},
        "This server answers to those who have a token. It is kept in this tab until it is closed, and nowhere else.",
      ),
      el("label", { class: "field" }, el("span", {}, "Token"), input),
      el(
        "div",
        { class: "actions" },
        el("button", { type: "submit", class: "main" }, "Go on"),
        el("button", { type: "button", onclick: () => close() }, "Cancel"),
      ),
    );
  });
}
