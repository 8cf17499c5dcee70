"""litellm as a library: answers, streams, tools, structured output, errors."""

import litellm
from context import ANSWER, KEY, MESSAGES, MODEL, TOOL, URL

litellm.telemetry = False
SERVER = {"model": f"openai/{MODEL}", "api_base": URL, "api_key": KEY, "num_retries": 0}
GREEDY = {**SERVER, "messages": MESSAGES, "temperature": 0}

answer = litellm.completion(**GREEDY, max_tokens=24)
assert answer.choices[0].message.content == ANSWER, answer
stream = litellm.completion(**GREEDY, max_tokens=24, stream=True, stream_options={"include_usage": True})
chunks = list(stream)
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
usages = [usage for chunk in chunks if (usage := getattr(chunk, "usage", None))]
assert usages[-1].completion_tokens == answer.usage.completion_tokens

called = litellm.completion(**GREEDY, max_tokens=100, tools=[TOOL], tool_choice="required")
assert called.choices[0].message.tool_calls[0].function.name == "get_weather"

form = {"type": "json_schema", "json_schema": {"name": "c", "schema": TOOL["function"]["parameters"]}}
assert (
    '"city"' in litellm.completion(**GREEDY, max_tokens=100, response_format=form).choices[0].message.content
)

try:
    litellm.completion(**{**GREEDY, "model": "openai/other"})
except litellm.NotFoundError:
    pass
else:
    raise AssertionError
