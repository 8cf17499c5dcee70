/** Models that the server no longer has. */

import type { Conversation, Model } from "./types";

/** The chat, whose lanes have the first model of the server in place of one that it does not have. */
export function withServedModels(chat: Conversation, models: Model[]): Conversation {
  const [first] = models;
  if (!first || chat.lanes.every((lane) => models.some((model) => model.id === lane.model))) return chat;
  const lanes = chat.lanes.map((lane) =>
    models.some((model) => model.id === lane.model) ? lane : { ...lane, model: first.id },
  );
  return { ...chat, lanes };
}
