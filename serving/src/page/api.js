// Asking the server, with the token if there is one. It is kept for this tab only, and never stands in an address.

const PATIENCE_MS = 30e3;
const TOKEN = "highwater-token";
const KNOWN_MAX = 32;

/** An answer that is no success: the problem document in plain words. */
export class Refused extends Error {
  constructor(status, problem, path) {
    super(problem.detail ?? `${path} answered ${status}`);
    this.status = status;
    this.title = problem.title ?? "The server did not answer";
  }
}

export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;

export function setToken(token) {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
}

/** The response to a request, which is a success or "not modified"; else it throws. */
export async function request(path, { headers = {}, ...options } = {}) {
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.authorization = `Bearer ${token}`;
  const response = await fetch(path, { cache: "no-store", ...options, headers });
  if (response.ok || response.status === 304) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refused(response.status, problem, path.split("?")[0]);
}

const within = (signal) => AbortSignal.any([AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])]);

const json = async (path, options = {}) => (await request(path, { ...options, signal: within(options.signal) })).json();

/** The views there are. */
export const views = async () => (await json("/v1/views")).views;

/** How the sources, the generation and the last audit stand. */
export const status = (signal) => json("/v1/status", { signal });

/** The parameters of a question as a link has them. */
function parameters(question) {
  const of = ([name, value]) => [name, Array.isArray(value) ? value.join(",") : String(value)];
  const given = Object.entries(question).filter(([, value]) => value !== undefined && value !== "" && value !== false);
  return new URLSearchParams(given.map(of));
}

/** The address that tells the answer to a question, and what changes of it. */
export const live = (question) => `/v1/live?${parameters(question)}`;

/** Answers by their address, with their tags: asking again costs little while nothing changes. */
const known = new Map();

/** The answer to a question; the very object of the last time if nothing in it changed. */
export async function ask({ view, ...question }, signal) {
  const path = `/v1/views/${encodeURIComponent(view)}?${parameters(question)}`;
  const before = known.get(path);
  const headers = before ? { "if-none-match": before.etag } : {};
  const response = await request(path, { headers, signal: within(signal) });
  if (response.status === 304) return before.answer;
  const answer = await response.json();
  const etag = response.headers.get("etag");
  known.delete(path);
  if (etag) known.set(path, { etag, answer });
  if (known.size > KNOWN_MAX) known.delete(known.keys().next().value);
  return answer;
}

/** The answer to a question, asked anew: for who must know which generation it is of, which the tag does not say. */
export async function fresh(question, signal) {
  const { view, ...rest } = question;
  return json(`/v1/views/${encodeURIComponent(view)}?${parameters(rest)}`, { signal });
}
