// The store, through the HTTP interface; the token lives in this tab alone.

const TOKEN = "memstore.token";
const ROOT = new URL("v1/", document.baseURI);

const TITLES = {
  401: "A token is needed",
  403: "Not allowed",
  404: "It is not there",
  409: "It has changed meanwhile",
  412: "It has changed meanwhile",
  422: "That cannot be accepted",
  429: "Too many requests",
  503: "The store is busy",
};

/** The server said no, or nothing. `status` is 0 where there was no answer, `type` as in RFC 9457. */
export class Refused extends Error {
  constructor(status, title, detail, type = "about:blank") {
    super(detail || title);
    Object.assign(this, { status, title, detail, type });
  }
}

let token = sessionStorage.getItem(TOKEN);
let asking = null;
let askForToken = async () => null;

/** Says who asks for a token: a function that gets whether one was refused and returns one, or null. */
export function whenTokenIsNeeded(ask) {
  askForToken = ask;
}

export function hasToken() {
  return token !== null;
}

export function dropToken() {
  token = null;
  sessionStorage.removeItem(TOKEN);
}

async function newToken(refused) {
  asking ??= askForToken(refused).finally(() => (asking = null));
  const given = await asking;
  if (given === null)
    throw new Refused(401, "A token is needed", "This server answers only to those who have one.");
  token = given;
  sessionStorage.setItem(TOKEN, given);
}

async function ask(method, path, { query = {}, body, signal } = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  for (;;) {
    const sent = token;
    const response = await send(method, url, body, signal);
    if (response.status !== 401) return await contents(response);
    if (sent === token) await newToken(sent !== null); // else another request has got one meanwhile
  }
}

async function send(method, url, body, signal) {
  const headers = { accept: "application/json" };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    return await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      credentials: "omit",
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(
      0,
      "The server does not answer",
      "Is memstore serve still running? Start it, then try again.",
    );
  }
}

async function contents(response) {
  const kind = response.headers.get("content-type") ?? "";
  const said = /\bjson\b/.test(kind) ? await response.json() : null;
  if (response.ok) return said;
  const title = TITLES[response.status] ?? said?.title ?? `The server answered ${response.status}`;
  throw new Refused(
    response.status,
    title,
    typeof said?.detail === "string" ? said.detail : "",
    said?.type,
  );
}

const id = encodeURIComponent;

export const caller = (signal) => ask("GET", "caller", { signal });
export const namespaces = (signal) => ask("GET", "namespaces", { signal });
export const stats = (signal) => ask("GET", "stats", { signal });
export const query = (body, signal) => ask("POST", "query", { body, signal });
export const memories = (wanted, signal) =>
  ask("GET", "memories", {
    query: { ...wanted, where: wanted.where && JSON.stringify(wanted.where) },
    signal,
  });
export const memory = (of, signal) => ask("GET", `memories/${id(of)}`, { signal });
export const history = (of, signal) => ask("GET", `memories/${id(of)}/history`, { signal });
export const feedback = (of, verb, body) => ask("POST", `memories/${id(of)}/${verb}`, { body });
export const forget = (body) => ask("POST", "forget", { body });
export const entities = (wanted, signal) => ask("GET", "entities", { query: wanted, signal });
export const neighbours = (wanted, signal) => ask("GET", "neighbours", { query: wanted, signal });
