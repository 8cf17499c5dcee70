import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, streamText, tool } from "ai";
import { z } from "zod";
import { context } from "./context.mjs";

const provider = createOpenAICompatible({
  name: "litgpt",
  baseURL: `${context.url}/v1`,
  apiKey: context.key,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const model = provider(context.model);
const greedy = { model, temperature: 0, maxOutputTokens: 24, maxRetries: 0, prompt: context.question };

const whole = await generateText(greedy);
assert.equal(whole.text, context.answer);
assert.equal(whole.finishReason, "stop");

const streamed = streamText(greedy);
let text = "";
for await (const part of streamed.textStream) text += part;
assert.equal(text, context.answer);
assert.equal((await streamed.usage).outputTokens, whole.usage.outputTokens);

const asked = [];
const calls = streamText({
  ...greedy,
  maxOutputTokens: 100,
  toolChoice: "required",
  tools: {
    get_weather: tool({
      description: context.tool.function.description,
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => {
        asked.push(city);
        return "sunny";
      },
    }),
  },
});
await calls.consumeStream();
assert.equal(await calls.finishReason, "tool-calls");
assert.deepEqual((await calls.toolCalls).map((call) => call.input.city), asked);
assert.equal((await calls.toolResults)[0].output, "sunny");

const { output } = await generateText({
  ...greedy,
  maxOutputTokens: 60,
  output: Output.object({ schema: z.object({ color: z.enum(["red", "green"]) }) }),
});
assert.ok(["red", "green"].includes(output.color));

const stop = new AbortController();
const long = streamText({ ...greedy, maxOutputTokens: 2000, abortSignal: stop.signal, onError() {} });
let parts = 0;
try {
  for await (const _ of long.textStream) if (++parts === 2) stop.abort();
} catch (error) {
  assert.equal(error.name, "AbortError");
}
