/** Chats as files in the format of `Chat.save`: {"messages": [...], "tools": ..., "chat_template_kwargs": ...}. */

import { newId } from "./ids";
import { wireMessages } from "./request";
import type { Conversation, Message, Role, ToolCall } from "./types";

const ROLES: readonly string[] = ["user", "assistant", "tool", "system"];

type Json = Record<string, unknown>;

/** The shown path of a chat as a file of `Chat.save`. */
export function savedChat(chat: Conversation): string {
  const saved: Json = { messages: wireMessages(chat, chat.lanes[0]?.head ?? null) };
  if (chat.tools) saved["tools"] = chat.tools;
  if (chat.templateVariables) saved["chat_template_kwargs"] = chat.templateVariables;
  return JSON.stringify(saved, null, 1);
}

/** The chat in a file of `Chat.save`, or in a JSON list of messages. Throws an Error that says what is wrong. */
export function readChat(text: string, model: string): Conversation {
  const parsed: unknown = JSON.parse(text);
  const saved = Array.isArray(parsed) ? { messages: parsed } : parsed;
  if (!isObject(saved) || !Array.isArray(saved["messages"])) {
    throw new Error("it is not a saved chat or a list of messages");
  }
  const chat = emptyChat(model);
  let created = Date.now();
  for (const [index, value] of (saved["messages"] as unknown[]).entries()) {
    const message = readMessage(value, index, chat.lanes[0]?.head ?? null, created++);
    if (message.role === "system" && index === 0) {
      chat.system = message.content;
      continue;
    }
    chat.messages[message.id] = message;
    chat.lanes = [{ model, head: message.id }];
  }
  if (Array.isArray(saved["tools"])) chat.tools = saved["tools"];
  if (isObject(saved["chat_template_kwargs"])) chat.templateVariables = saved["chat_template_kwargs"];
  chat.title = titleOf(Object.values(chat.messages).find((one) => one.role === "user")?.content ?? "");
  return chat;
}

/** A chat without messages. */
export function emptyChat(model: string): Conversation {
  const now = Date.now();
  return {
    id: newId(),
    title: "",
    created: now,
    updated: now,
    messages: {},
    lanes: [{ model, head: null }],
    system: "",
    settings: {},
    logprobs: false,
  };
}

/** The title of a chat that begins with this message. */
export function titleOf(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 60 ? `${line.slice(0, 59).trimEnd()}…` : line;
}

function readMessage(value: unknown, index: number, parent: string | null, created: number): Message {
  if (!isObject(value) || typeof value["role"] !== "string" || !ROLES.includes(value["role"])) {
    throw new Error(`message ${index + 1} does not have a role such as "user"`);
  }
  const message: Message = {
    id: newId(),
    parent,
    role: value["role"] as Role,
    content: readContent(value["content"], index),
    created,
  };
  if (typeof value["reasoning_content"] === "string") message.reasoning = value["reasoning_content"];
  if (Array.isArray(value["tool_calls"])) message.toolCalls = value["tool_calls"].map(readCall);
  if (typeof value["tool_call_id"] === "string") message.toolCallId = value["tool_call_id"];
  return message;
}

function readContent(content: unknown, index: number): string {
  if (content === undefined || content === null) return "";
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) throw new Error(`the content of message ${index + 1} is not text`);
  return content
    .map((part) => (isObject(part) && typeof part["text"] === "string" ? part["text"] : ""))
    .join("");
}

function readCall(value: unknown): ToolCall {
  const call = isObject(value) ? value : {};
  const called = isObject(call["function"]) ? call["function"] : {};
  const given = called["arguments"];
  return {
    id: String(call["id"] ?? ""),
    name: String(called["name"] ?? ""),
    arguments: typeof given === "string" ? given : JSON.stringify(given ?? {}),
  };
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
