// What a program is told on stdin: the server, its model, and the answers of the library itself.
import { readFileSync } from "node:fs";

export const context = JSON.parse(readFileSync(0, "utf8"));
export const greedy = {
  model: context.model,
  messages: [{ role: "user", content: context.question }],
  temperature: 0,
  max_tokens: 24,
};
