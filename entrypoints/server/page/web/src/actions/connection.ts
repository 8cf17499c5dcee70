/** Whether the server answers, and which models it has. */

import { RequestFailed, listModels, setApiKey } from "../browser/server";
import { withServedModels } from "../chat/served-models";
import { type State, getState, setState } from "../state";

const RETRY_MS = 2000;

/** Ask for the models. While the server does not answer, ask again until it does. */
export async function connect(): Promise<void> {
  try {
    const models = await listModels();
    const chats = Object.entries(getState().chats).map(([id, chat]) => [id, withServedModels(chat, models)]);
    setState({ server: "up", models, chats: Object.fromEntries(chats) as State["chats"] });
  } catch (error) {
    const locked = error instanceof RequestFailed && error.failure.status === 401;
    setState({ server: locked ? "locked" : "down" });
    if (!locked) setTimeout(() => void connect(), RETRY_MS);
  }
}

/** What a failed request says about the server. */
export function noteFailure(error: RequestFailed): void {
  const { status } = error.failure;
  if (status === 401) setState({ server: "locked" });
  if (status === undefined && getState().server === "up") void connect();
}

/** Try an API key; whether the server accepts it. */
export async function unlock(key: string): Promise<boolean> {
  setApiKey(key);
  await connect();
  return getState().server !== "locked";
}
