// What the caller may do here, as far as the server has said.

import * as api from "./api.js";

let whole = null; // whether the caller sees the whole store: a promise, once somebody asked

/** Promises the namespace that means everything the caller may see, for a verb that writes. */
export async function everything() {
  whole ??= api.stats().then(
    () => true,
    (error) => (error.status === 403 ? false : Promise.reject(error)),
  );
  whole.catch(() => (whole = null));
  return (await whole) ? "*" : undefined;
}

/** Notes a refusal: who may only read is not offered to write again. */
export function learn(error) {
  if (error.type !== "urn:memstore:problem:read-only") return;
  document.documentElement.classList.add("read-only"); // the style sheet hides what is `writes`
}
