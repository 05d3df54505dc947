// Asking the server. A failed answer throws an Error whose message is the problem document's detail.

const PATIENCE_MS = 10e3;

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail ?? body.title ?? `${path} answered ${response.status}`);
  return body;
}

/** The views there are. */
export const views = async () => (await ask("/v1/views")).views;

/** How the sources and the generation stand. */
export const status = () => ask("/v1/status");

/** The answer to a query. */
export const query = (question) =>
  ask("/v1/query", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(question),
  });
