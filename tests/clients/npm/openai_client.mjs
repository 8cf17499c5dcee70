import assert from "node:assert/strict";
import OpenAI from "openai";
import { context, greedy } from "./context.mjs";

const client = new OpenAI({ baseURL: `${context.url}/v1`, apiKey: context.key, maxRetries: 0 });

const whole = await client.chat.completions.create(greedy);
assert.equal(whole.choices[0].message.content, context.answer);

let text = "";
let usage = null;
for await (const chunk of await client.chat.completions.create({
  ...greedy,
  stream: true,
  stream_options: { include_usage: true },
})) {
  text += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(text, context.answer);
assert.deepEqual(usage, { ...whole.usage, prompt_tokens_details: usage.prompt_tokens_details });

const helper = client.chat.completions.stream(greedy);
assert.equal(await helper.finalContent(), context.answer);

const called = client.chat.completions.stream({
  ...greedy,
  max_tokens: 100,
  tools: [context.tool],
  tool_choice: "required",
});
const [call] = (await called.finalChatCompletion()).choices[0].message.tool_calls;
assert.equal(call.function.name, "get_weather");
assert.equal(typeof JSON.parse(call.function.arguments).city, "string");

const stream = await client.chat.completions.create({ ...greedy, max_tokens: 2000, ignore_eos: true, stream: true });
let chunks = 0;
for await (const _ of stream) {
  if (++chunks === 3) stream.controller.abort();
}
assert.ok(chunks < 100);

await assert.rejects(client.chat.completions.create({ ...greedy, model: "other" }), OpenAI.NotFoundError);
const stranger = new OpenAI({ baseURL: `${context.url}/v1`, apiKey: "wrong", maxRetries: 0 });
await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
