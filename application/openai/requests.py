"""Read the bodies of OpenAI's completion requests as the arguments of `LLM.complete`."""

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, TypeAlias

import attrs

from litgpt.application.openai.fields import CHAT_FIELDS, COMPLETION_FIELDS, UnsupportedField, read_fields
from litgpt.application.openai.response_format import schema_of
from litgpt.application.openai.tool_names import check_tool_names
from litgpt.domain.chat.messages import Message, parse_messages
from litgpt.domain.errors import InvalidArgument, MissingArgument, WrongType
from litgpt.domain.validators import flag, integer, is_integer

MAX_ANSWERS = 128
"""The largest `n`, as in OpenAI's API: the answers to a request are in memory together."""
MAX_TOP_LOGPROBS = 20
MAX_PROMPTS = 2048

TokenIds: TypeAlias = list[int]

_CONSTRAINTS = ("schema", "regex", "grammar", "choices")
_READ = ("model", "messages", "prompt", "n", "stream", "stream_options", "echo", "response_format")


@attrs.frozen(kw_only=True)
class CompletionCall:
    """A request for completions.

    Attributes:
        prompts: Conversations, texts, or lists of token ids.
        options: Keyword arguments of `LLM.complete`.
        n: The number of answers to each prompt.
        model: The name of the model; None: the model that is served.
        is_list: Whether the request has a list of prompts.
        stream: Whether the answer is sent in pieces.
        include_usage: Whether a stream ends with the numbers of tokens.
        echo: Whether the text begins with the prompt.
    """

    prompts: Sequence[Any]
    options: Mapping[str, Any]
    n: int = 1
    model: str | None = None
    is_list: bool = False
    stream: bool = False
    include_usage: bool = False
    echo: bool = False


def read_chat(body: Mapping[str, Any]) -> CompletionCall:
    """Read the body of a request to `/v1/chat/completions`.

    Raises:
        InvalidArgument: A field is missing, not supported, or has a wrong value.
    """
    fields = read_fields(body, CHAT_FIELDS)
    messages = _required(fields, "messages", "/v1/chat/completions")
    options = {"max_new_tokens": None, **_options(fields)}
    if options.get("top_logprobs") == 0 and options.get("logprobs") is False:
        del options["top_logprobs"]  # what clients send for "none"
    if "top_logprobs" in options:
        integer("top_logprobs", options["top_logprobs"], 0)
        if options["top_logprobs"] > MAX_TOP_LOGPROBS:
            raise InvalidArgument("top_logprobs", options["top_logprobs"], f"at most {MAX_TOP_LOGPROBS}")
        if not options.get("logprobs"):
            raise InvalidArgument("logprobs", options.get("logprobs"), "true with top_logprobs")
    effort = options.pop("reasoning_effort", None)
    if effort is not None:
        options["chat_template_kwargs"] = _with_effort(options.get("chat_template_kwargs"), effort)
    if options.get("tools") == []:
        del options["tools"]
    check_tool_names(options.get("tools"))
    return _call(fields, [[_with_text(it) for it in parse_messages(messages)]], options)


def _with_text(message: Message) -> Message:
    """Return a message whose text parts are one string, which all chat templates take."""
    parts = message.content
    if isinstance(parts, str) or not parts or not all(part.get("type") == "text" for part in parts):
        return message
    return attrs.evolve(message, content="".join(part["text"] for part in parts))


def read_completion(body: Mapping[str, Any]) -> CompletionCall:
    """Read the body of a request to `/v1/completions`.

    Raises:
        InvalidArgument: A field is missing, not supported, or has a wrong value.
    """
    fields = read_fields(body, COMPLETION_FIELDS)
    prompts, is_list = read_prompts("prompt", _required(fields, "prompt", "/v1/completions"))
    options = {"max_new_tokens": 16, **_options(fields), "apply_chat_template": False}
    echo = _flag(fields, "echo")
    if "logprobs" in fields:  # here it is the number of likeliest tokens
        count = integer("logprobs", fields["logprobs"], 0)
        if count > MAX_TOP_LOGPROBS:
            raise InvalidArgument("logprobs", count, f"at most {MAX_TOP_LOGPROBS}")
        options |= {"logprobs": True, "top_logprobs": count}
        if echo:
            options["prompt_logprobs"] = count
    if options["max_new_tokens"] == 0 and not echo:
        raise InvalidArgument("max_tokens", 0, "at least 1, or echo must be true")
    return _call(fields, prompts, options, is_list=is_list, echo=echo)


def read_prompts(name: str, value: Any) -> tuple[list[str | TokenIds], bool]:
    """Return the texts and lists of token ids of a field, and whether it is a list of them.

    Raises:
        WrongType: It is something else.
        InvalidArgument: It is empty, or has too many prompts.
    """
    expected = "a string, a list of token ids, or a list of either"
    if isinstance(value, str):
        return [value], False
    if not isinstance(value, list):
        raise WrongType(name, value, expected)
    if not value:
        raise InvalidArgument(name, value, "at least one prompt")
    if all(is_integer(it, 0) for it in value):
        return [value], False
    if len(value) > MAX_PROMPTS:
        raise InvalidArgument(name, f"{len(value)} prompts", f"at most {MAX_PROMPTS}")
    for number, it in enumerate(value):
        is_ids = isinstance(it, list) and it and all(is_integer(token, 0) for token in it)
        if not (isinstance(it, str) or is_ids):
            raise WrongType(f"{name}[{number}]", it, "a string or a list of token ids")
    return value, True


def _required(fields: Mapping[str, Any], name: str, endpoint: str) -> Any:
    if name not in fields:
        raise MissingArgument(name, None, f"add it to the body of a request to {endpoint}.")
    return fields[name]


def _call(
    fields: Mapping[str, Any],
    prompts: Sequence[Any],
    options: Mapping[str, Any],
    *,
    is_list: bool = False,
    echo: bool = False,
) -> CompletionCall:
    n = integer("n", fields.get("n", 1), 1)
    if n * len(prompts) > MAX_ANSWERS:
        limit = f"at most {MAX_ANSWERS}" + (" together with the number of prompts" if is_list else "")
        raise InvalidArgument("n", n, limit)
    model = fields.get("model")
    if model is not None and not isinstance(model, str):
        raise WrongType("model", model, "a string")
    stream = _flag(fields, "stream")
    return CompletionCall(
        prompts=prompts,
        options=options,
        n=n,
        model=model,
        is_list=is_list,
        stream=stream,
        include_usage=_include_usage(fields.get("stream_options"), stream=stream),
        echo=echo,
    )


def _include_usage(options: Any, *, stream: bool) -> bool:
    if options is None:
        return False
    if not isinstance(options, dict):
        raise WrongType("stream_options", options, "an object with include_usage")
    if not stream:
        raise InvalidArgument("stream_options", options, "null unless stream is true")
    for name in options.keys() - {"include_usage", "include_obfuscation"}:
        raise UnsupportedField(f"stream_options.{name}", options[name], "Remove it.")
    include = options.get("include_usage") or False
    flag("stream_options.include_usage", include)
    return bool(include)


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    flag(name, fields.get(name, False))
    return bool(fields.get(name))


def _options(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a request as keyword arguments of `LLM.complete`."""
    options = {name: value for name, value in fields.items() if name not in _READ}
    lengths = [name for name in ("max_tokens", "max_completion_tokens") if name in options]
    if len(lengths) > 1:
        raise InvalidArgument("max_tokens", options["max_tokens"], "null with max_completion_tokens")
    if lengths:
        options["max_new_tokens"] = integer(lengths[0], options.pop(lengths[0]), 0)
    _read_schema(options, fields.get("response_format"))
    if "logit_bias" in options:
        options["logit_bias"] = read_logit_bias(options["logit_bias"])
    if options.get("stop") == []:
        del options["stop"]
    return options


def _read_schema(options: dict[str, Any], response_format: Any) -> None:
    if response_format is not None:
        for name in _CONSTRAINTS:
            if name in options:
                raise InvalidArgument(name, options[name], "null with response_format")
        options["schema"] = schema_of(response_format)
    if not isinstance(options.get("schema"), (Mapping, NoneType)):
        raise WrongType("schema", options["schema"], "a JSON schema, an object")


def read_logit_bias(value: Any) -> dict[int, Any] | None:
    """Return biases by token id, which are strings as the names of a JSON object."""
    if value is not None and not isinstance(value, dict):
        raise WrongType("logit_bias", value, "an object of token ids and biases")
    return {_token_id(token): bias for token, bias in (value or {}).items()} or None


def _token_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidArgument("logit_bias", text, "an object of token ids and biases")
    return int(text)


def _with_effort(variables: Any, effort: Any) -> Any:
    if not isinstance(effort, str):
        raise WrongType("reasoning_effort", effort, "a string such as 'low'")
    if variables is not None and not isinstance(variables, Mapping):
        return variables  # refused with the other options of the template
    switched = {"enable_thinking": False} if effort == "none" else {}
    return {"reasoning_effort": effort, **switched, **(variables or {})}
