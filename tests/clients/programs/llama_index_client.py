"""llama-index: answers, chats and streams of a server that is like OpenAI's."""

from context import ANSWER, KEY, MODEL, QUESTION, TOOL, URL
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model=MODEL,
    api_base=URL,
    api_key=KEY,
    is_chat_model=True,
    is_function_calling_model=True,
    temperature=0,
    max_tokens=24,
    max_retries=0,
    context_window=2048,
)
messages = [ChatMessage(role="user", content=QUESTION)]
assert llm.chat(messages).message.content == ANSWER
assert llm.complete(QUESTION).text == ANSWER
assert "".join(part.delta or "" for part in llm.stream_chat(messages)) == ANSWER


def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return city


assert TOOL["function"]["name"] == get_weather.__name__
llm.max_tokens = 100
response = llm.chat_with_tools(
    [FunctionTool.from_defaults(get_weather)], user_msg="What is the weather in Rome?", tool_required=True
)
(call,) = llm.get_tool_calls_from_response(response)
assert call.tool_name == "get_weather"
assert isinstance(call.tool_kwargs["city"], str)
