// The few requests the page makes.

const PATIENCE_MS = 8000;

async function call(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const json = (answer.headers.get("content-type") ?? "").includes("json");
  return { status: answer.status, data: json ? await answer.json() : null };
}

/** The open round's batch. Throws when the server does not give it. */
export async function getBatch() {
  const { status, data } = await call("GET", "/api/batch");
  if (status !== 200) throw new Error(data?.detail ?? `${status}`);
  return data;
}

/** Ask for the next round. */
export async function askForRound() {
  const { status, data } = await call("POST", "/api/round", {});
  if (status !== 200) throw new Error(data?.detail ?? `${status}`);
  return data;
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
