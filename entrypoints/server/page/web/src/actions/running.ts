/** The requests that are running, by the id of the answer that they write. */

import type { Conversation } from "../chat/types";

const controllers = new Map<string, AbortController>();

export function register(id: string): AbortSignal {
  const controller = new AbortController();
  controllers.set(id, controller);
  return controller.signal;
}

export function unregister(id: string): void {
  controllers.delete(id);
}

/** Stop the answers of a chat. What has been written stays. */
export function stopAnswers(chat: Conversation): void {
  for (const id of Object.keys(chat.messages)) controllers.get(id)?.abort();
}

// A page that goes away ends its requests; what was written can be continued after a reload.
addEventListener("pagehide", () => controllers.forEach((controller) => controller.abort()));
