/** Requests to the server that this page comes from. */

import type { Chunk } from "../chat/answer";
import type { Failure, Model } from "../chat/types";
import { eventData } from "./events";

const KEY = "litgpt-api-key";

/** A request that failed, with what the server said about it. */
export class RequestFailed extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** Keep the API key until the tab is closed; it is stored nowhere else. */
export function setApiKey(key: string): void {
  sessionStorage.setItem(KEY, key);
}

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const key = sessionStorage.getItem(KEY);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new RequestFailed({ message: "The server does not answer. Start it again, then retry." });
  }
  if (!response.ok) throw new RequestFailed(await readFailure(response));
  return response;
}

async function readFailure(response: Response): Promise<Failure> {
  const failure: Failure = { message: `The server answered ${response.status}.`, status: response.status };
  const wait = Number(response.headers.get("Retry-After"));
  if (wait > 0) failure.retryAfter = wait;
  try {
    const body = (await response.json()) as { error?: { message?: unknown } };
    if (typeof body.error?.message === "string") failure.message = body.error.message;
  } catch {
    // Not JSON: a proxy answered. The status has to do.
  }
  return failure;
}

export async function listModels(): Promise<Model[]> {
  const body = (await (await request("v1/models")).json()) as { data?: Model[] };
  return body.data ?? [];
}

/** Yields the chunks of a streamed answer. Throws `RequestFailed`, also for an error in mid-stream. */
export async function* streamAnswer(body: unknown, signal: AbortSignal): AsyncGenerator<Chunk> {
  const response = await request("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.body) return;
  try {
    for await (const data of eventData(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error) throw new RequestFailed({ message: chunk.error.message ?? "The answer failed." });
      yield chunk;
    }
  } catch (error) {
    if (signal.aborted || error instanceof RequestFailed) throw error;
    throw new RequestFailed({ message: "The connection was lost during the answer." });
  }
  throw new RequestFailed({ message: "The connection ended before the answer was complete." });
}
