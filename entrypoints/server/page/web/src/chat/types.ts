/** The values of a chat: messages form a tree, so that no alternative is ever lost. */

export type Role = "system" | "user" | "assistant" | "tool";

export interface ToolCall {
  id: string;
  name: string;
  /** JSON text, as the model wrote it. */
  arguments: string;
}

export interface Alternative {
  token: string;
  logprob: number;
}

/** A token of an answer with its log-probability and the likeliest tokens of its position. */
export interface TokenProbability extends Alternative {
  alternatives: Alternative[];
}

/** Where the time of a request went. Durations are in milliseconds. */
export interface Timings {
  queue_ms: number;
  prefill_ms: number;
  decode_ms: number;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
}

/** Why a request failed. Without `status`, the server did not answer at all. */
export interface Failure {
  message: string;
  status?: number;
  /** Seconds to wait, from the header Retry-After. */
  retryAfter?: number;
}

export interface Message {
  id: string;
  /** The message that this one answers or follows; null for the first of a chat. */
  parent: string | null;
  role: Role;
  content: string;
  created: number;
  /** The child that was last shown, to which the arrows between alternatives return. */
  last?: string;
  model?: string;
  reasoning?: string;
  toolCalls?: ToolCall[];
  toolCallId?: string;
  tokens?: TokenProbability[];
  finish?: string;
  timings?: Timings;
  /** Tokens of the context that this answer and its prompt take. */
  contextTokens?: number;
  failure?: Failure;
}

export type Messages = Record<string, Message>;

/** One column: a model, and the last message of the path that is shown. */
export interface Lane {
  model: string;
  head: string | null;
}

/** Settings of a chat by their name in the request; a setting that is absent has the server's default. */
export type Settings = Record<string, number | string>;

export interface Conversation {
  id: string;
  title: string;
  created: number;
  updated: number;
  messages: Messages;
  /** One lane, or two that are compared. */
  lanes: Lane[];
  system: string;
  settings: Settings;
  logprobs: boolean;
  /** JSON schemas of tools and variables of the chat template, from an imported chat. */
  tools?: unknown[];
  templateVariables?: Record<string, unknown>;
}

export interface Summary {
  id: string;
  title: string;
  updated: number;
}

/** An entry of GET /v1/models. */
export interface Model {
  id: string;
  parent?: string | null;
  context_length?: number;
  size_bytes?: number;
  reasoning?: boolean;
  sampling?: Record<string, number | null>;
}
