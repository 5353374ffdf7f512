// What the caller may do here, as the server says.

import * as api from "./api.js";

let caller = null; // a promise, once somebody asked

/** Promises what the caller may do: {namespaces, read_only, rerankers}. */
export function permissions() {
  caller ??= api.caller().then((may) => {
    document.documentElement.classList.toggle("read-only", may.read_only); // hides what is `writes`
    return may;
  });
  caller.catch(() => (caller = null));
  return caller;
}

/** Promises the namespace that is read where none is named; "" is the whole store. */
export async function root() {
  const { namespaces } = await permissions();
  return namespaces.includes("*") ? "" : namespaces[0];
}

/** Promises whether the caller may name a namespace: a function of its path. */
export async function reach() {
  const { namespaces } = await permissions();
  return (path) =>
    namespaces.some((own) => own === "*" || path === own || path.startsWith(`${own}/`));
}

/** Promises the namespace that means everything that is read, for a verb that writes. */
export async function everything() {
  return (await root()) || "*";
}

/** Notes a refusal: who may only read is not offered to write again. */
export function learn(error) {
  if (error.type !== "urn:memstore:problem:read-only") return;
  document.documentElement.classList.add("read-only"); // the style sheet hides what is `writes`
}
