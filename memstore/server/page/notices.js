// What is said where there is nothing to list, and where something went wrong.

import { el, say } from "./dom.js";
import { visible } from "./text.js";

const ADVICE = {
  0: "",
  401: "Reload the page to be asked for a token again.",
  403: "The token, or the server (--read-only), does not allow this.",
  429: "Wait a moment, then try again.",
  503: "Another process is writing to the store. Try again in a moment.",
};

/** Returns a notice about an error: what happened, what to do, and a button to try again. */
export function problem(error, again = null) {
  if (error.status === undefined) console.error(error); // a mistake of this page: keep its trace
  const detail = error.detail ?? error.message;
  const advice = ADVICE[error.status] ?? "";
  say(error.title ?? "Something went wrong");
  return el(
    "div",
    { class: "notice bad", role: "alert" },
    el("h2", {}, visible(error.title ?? "Something went wrong")),
    detail && el("p", { class: "detail" }, visible(detail)),
    advice && el("p", {}, advice),
    again && el("button", { type: "button", onclick: again }, "Try again"),
  );
}

/** Returns a notice that there is nothing, and what to do about it. */
export function empty(title, ...what) {
  return el("div", { class: "notice" }, el("h2", {}, title), what.length > 0 && el("p", {}, what));
}

/** Returns what stands where an answer is awaited; it is seen only if that takes a moment. */
export function waiting(text = "Looking…") {
  return el("p", { class: "waiting" }, text);
}
