// The few requests the page makes.

const PATIENCE_MS = 8000;

/** The server does not know who asks (any more). */
export class SignedOut extends Error {}

async function call(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { accept: "application/json", ...(body === undefined ? {} : { "content-type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const json = (answer.headers.get("content-type") ?? "").includes("json");
  return { status: answer.status, data: json ? await answer.json() : null };
}

async function wanted(method, path, body) {
  const { status, data } = await call(method, path, body);
  if (status === 401) throw new SignedOut();
  if (status !== 200) throw new Error(data?.detail ?? `${status}`);
  return data;
}

/**
 * Images to label. Throws when the server does not give them.
 * @param mode  "label", "grid", "mistakes", "disputed" or "sorted".
 * @param now   do not wait for the model under training.
 * @param after number of a round this page has already: the one that comes after it is wanted.
 */
export function getBatch(mode, { now = false, after = null } = {}) {
  const query = new URLSearchParams({ mode });
  if (now) query.set("now", "true");
  if (after !== null) query.set("after", String(after));
  return wanted("GET", `/api/batch?${query}`);
}

/** What runs in the background, and how full the pool is. */
export const getStatus = () => wanted("GET", "/api/status");

/** Why an image was chosen, and the labelled images most like it. */
export const getWhy = (image) => wanted("GET", `/api/explain/${image.image_id}?v=${image.sha256}`);

/** Ask the worker for what it should do next; a failed job runs again. */
export const askForRound = () => wanted("POST", "/api/round", {});

/** End this session, or all of this person's. */
export async function signOut(everywhere) {
  const { status } = await call("POST", everywhere ? "/logout-everywhere" : "/logout", {});
  if (status >= 400 && status !== 401) throw new Error(`${status}`);
}

/** Send operations of one round; resolves with {status, acks}. */
export async function postDecisions(identity, round, ops) {
  const { status, data } = await call("POST", "/api/decisions", {
    round,
    expected_user: identity.user,
    workspace: identity.workspace,
    ops,
  });
  return { status, acks: status === 200 ? data.acks : [] };
}
