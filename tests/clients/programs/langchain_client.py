"""langchain-openai: answers, streams, structured output, tools and embeddings."""

from context import ANSWER, KEY, MODEL, QUESTION, TOOL, URL
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

model = ChatOpenAI(
    base_url=URL, api_key=KEY, model=MODEL, temperature=0, max_tokens=24, max_retries=0, stream_usage=True
)
answer = model.invoke(QUESTION)
assert answer.content == ANSWER, answer
chunks = list(model.stream(QUESTION))
assert "".join(chunk.content for chunk in chunks) == ANSWER
usages = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
assert len(usages) == 1, usages
assert usages[0]["output_tokens"] == answer.usage_metadata["output_tokens"]


class Color(BaseModel):
    """A color and a number."""

    color: str
    count: int


large = model.bind(max_tokens=100)
structured = ChatOpenAI(base_url=URL, api_key=KEY, model=MODEL, temperature=0, max_tokens=200, max_retries=0)
for method in ("json_schema", "function_calling"):
    value = structured.with_structured_output(Color, method=method).invoke("Name a color and a number.")
    assert isinstance(value, Color), (method, value)

tools = structured.bind_tools([TOOL], tool_choice="required", parallel_tool_calls=False)
(call,) = tools.invoke("What is the weather in Rome?").tool_calls
assert call["name"] == "get_weather"
assert isinstance(call["args"]["city"], str)
whole = None
for chunk in tools.stream("What is the weather in Rome?"):
    whole = chunk if whole is None else whole + chunk
assert whole is not None
assert whole.tool_calls[0]["args"] == call["args"]

embeddings = OpenAIEmbeddings(base_url=URL, api_key=KEY, model=MODEL, check_embedding_ctx_length=False)
first, second = embeddings.embed_documents(["llamas", "alpacas"])
assert len(first) == len(second) > 100
assert first != second
