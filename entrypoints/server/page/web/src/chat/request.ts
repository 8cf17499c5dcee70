/** The body of POST /v1/chat/completions for a path of messages. */

import { pathTo } from "./tree";
import type { Conversation, Message } from "./types";

/** Tokens that are reported beside each token of an answer. */
const TOP_LOGPROBS = 5;

/** A message as the API and `Chat.save` write it. */
export function wireMessage(message: Message): Record<string, unknown> {
  const wire: Record<string, unknown> = { role: message.role, content: message.content };
  if (message.reasoning) wire["reasoning_content"] = message.reasoning;
  if (message.toolCalls?.length) {
    wire["tool_calls"] = message.toolCalls.map((call) => ({
      id: call.id,
      type: "function",
      function: { name: call.name, arguments: call.arguments },
    }));
  }
  if (message.toolCallId) wire["tool_call_id"] = message.toolCallId;
  return wire;
}

/** The messages of a path with the system prompt; an answer that failed before its first token is left out. */
export function wireMessages(chat: Conversation, head: string | null): Record<string, unknown>[] {
  const system = chat.system.trim() ? [{ role: "system", content: chat.system }] : [];
  const said = pathTo(chat.messages, head).filter(
    (message) => message.role !== "assistant" || message.content || message.reasoning || message.toolCalls,
  );
  return [...system, ...said.map(wireMessage)];
}

/** The request for the answer after `head`, or for the rest of the answer `head`. */
export function chatRequest(chat: Conversation, model: string, head: string, continued: boolean): unknown {
  const { stop, ...settings } = chat.settings;
  const stops = typeof stop === "string" ? stop.split("\n").filter((line) => line !== "") : [];
  return {
    ...settings,
    model,
    messages: wireMessages(chat, head),
    stream: true,
    stream_options: { include_usage: true },
    ...(stops.length ? { stop: stops } : {}),
    ...(continued ? { continue_final_message: true } : {}),
    ...(chat.logprobs ? { logprobs: true, top_logprobs: TOP_LOGPROBS } : {}),
    ...(chat.tools ? { tools: chat.tools } : {}),
    ...(chat.templateVariables ? { chat_template_kwargs: chat.templateVariables } : {}),
  };
}
