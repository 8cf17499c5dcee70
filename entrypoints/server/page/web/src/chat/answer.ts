/** An answer as its chunks arrive. */

import type { Alternative, Message, Timings, TokenProbability, ToolCall } from "./types";

interface ToolCallDelta {
  index?: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

interface TokenLogprob extends Alternative {
  top_logprobs?: Alternative[];
}

/** A chunk of a streamed chat completion, as far as the page reads it. */
export interface Chunk {
  choices?: {
    delta?: { content?: string | null; reasoning_content?: string | null; tool_calls?: ToolCallDelta[] };
    finish_reason?: string | null;
    logprobs?: { content?: TokenLogprob[] | null } | null;
  }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
  timings?: Timings;
  error?: { message?: string; code?: string | null };
}

/** The answer with the text, calls and figures of one more chunk. */
export function withChunk(answer: Message, chunk: Chunk): Message {
  const next = { ...answer };
  const choice = chunk.choices?.[0];
  const delta = choice?.delta;
  if (delta?.content) next.content += delta.content;
  if (delta?.reasoning_content) next.reasoning = (next.reasoning ?? "") + delta.reasoning_content;
  if (delta?.tool_calls) next.toolCalls = withCalls(next.toolCalls ?? [], delta.tool_calls);
  if (choice?.logprobs?.content) {
    next.tokens = [...(next.tokens ?? []), ...choice.logprobs.content.map(probability)];
  }
  if (choice?.finish_reason) next.finish = choice.finish_reason;
  if (chunk.usage) next.contextTokens = chunk.usage.prompt_tokens + chunk.usage.completion_tokens;
  if (chunk.timings) next.timings = chunk.timings;
  return next;
}

function withCalls(calls: ToolCall[], deltas: ToolCallDelta[]): ToolCall[] {
  const next = [...calls];
  for (const delta of deltas) {
    const index = delta.index ?? next.length;
    const call = next[index] ?? { id: "", name: "", arguments: "" };
    next[index] = {
      id: delta.id ?? call.id,
      name: call.name + (delta.function?.name ?? ""),
      arguments: call.arguments + (delta.function?.arguments ?? ""),
    };
  }
  return next.filter((call) => call !== undefined);
}

function probability(token: TokenLogprob): TokenProbability {
  const others = token.top_logprobs ?? [];
  return {
    token: token.token,
    logprob: token.logprob,
    alternatives: others.map((one) => ({ token: one.token, logprob: one.logprob })),
  };
}

/** Tokens per second of the decoding, or undefined if too few were decoded to tell. */
export function tokensPerSecond(timings: Timings): number | undefined {
  if (timings.completion_tokens < 2 || timings.decode_ms <= 0) return undefined;
  return (timings.completion_tokens - 1) / (timings.decode_ms / 1000);
}
