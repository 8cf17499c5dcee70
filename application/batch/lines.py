"""Lines of a batch file: prompts with options, in this library's format or in that of OpenAI's batches."""

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from litgpt.application.generation_options import GenerationOptions
from litgpt.application.openai.requests import MAX_ANSWERS, read_chat, read_completion, read_logit_bias
from litgpt.application.prepare_requests import TEMPLATE_OPTIONS
from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.generation.errors import InvalidBatchLine
from litgpt.domain.validation.option_names import suggest_name
from litgpt.domain.validation.untrusted_files import error_message, parse_json
from litgpt.domain.validators import is_integer

Endpoint: TypeAlias = Literal["/v1/chat/completions", "/v1/completions"]

_GENERATION = frozenset(field.name for field in attrs.fields(GenerationOptions) if field.init)

_PYTHON_ONLY = frozenset({"logits_processor", "adapter"})
_OPTIONS = (_GENERATION | TEMPLATE_OPTIONS | {"n"}) - _PYTHON_ONLY
_CONSTRAINTS = frozenset({"schema", "regex", "grammar", "choices"})
_MAX_TOKENS = ("max_tokens", "max_completion_tokens")
_PLAIN_FIELDS = _OPTIONS | {"id", "custom_id", "prompt", "messages", "sys_prompt", *_MAX_TOKENS}
_EXAMPLE = 'Write one object per line, such as {"prompt": "Hello"}.'


@attrs.frozen(kw_only=True)
class BatchPrompt:
    """A prompt and its options.

    Attributes:
        prompt: A text, or a list of messages.
        options: Keyword arguments of `LLM.generate`.
        n: The number of answers; None: one, which is not in a list.
    """

    prompt: Any
    sys_prompt: str | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    n: int | None = None


@attrs.frozen(kw_only=True)
class BatchLine:
    """A line of a batch file.

    Attributes:
        number: The number of the line, from 1.
        id: The `custom_id` or `id`; `line-<number>` if it has none.
        fields: The JSON object; None: the line is not one.
        is_openai: Whether it has the format of OpenAI's batches.
        error: Why the line is not a JSON object with a valid id.
    """

    number: int
    id: str | int
    fields: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    is_openai: bool = False
    error: InvalidBatchLine | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint of a valid line in OpenAI's format; None for other lines."""
        return self.fields["url"] if self.is_openai else None

    @property
    def _answer_fields(self) -> Mapping[str, Any]:
        body = self.fields.get("body") if self.is_openai else self.fields
        return body if isinstance(body, dict) else {}

    @classmethod
    def parse(cls, number: int, raw: bytes) -> "BatchLine":
        """Read a line; a fault is its `error`."""
        name: str | int = f"line-{number}"
        fault = None
        try:
            fields = parse_json(raw)
        except ValueError as error:
            reason = f"The line is not valid JSON: {error_message(error).removesuffix('.')}. {_EXAMPLE}"
            fault = InvalidBatchLine(reason)
            # Only a lone surrogate: the answer can have the id.
            fields = json.loads(raw) if isinstance(error, UnicodeEncodeError) else {}
        if not isinstance(fields, dict):
            reason = f"The line must be a JSON object, not {short_repr(fields)}. {_EXAMPLE}"
            return cls(number=number, id=name, error=InvalidBatchLine(reason))
        is_openai = "body" in fields or "url" in fields
        given = fields.get("custom_id", None if is_openai else fields.get("id"))
        if fault is not None:
            if is_integer(given) or (isinstance(given, str) and not _has_surrogates(given)):
                name = given
            return cls(number=number, id=name, is_openai=is_openai, error=fault)
        if given is None:
            return cls(number=number, id=name, fields=fields, is_openai=is_openai)
        if isinstance(given, bool) or not isinstance(given, (str, int)):
            fault = InvalidBatchLine(f"The id must be a string or an integer, not {short_repr(given)}.")
            return cls(number=number, id=name, is_openai=is_openai, error=fault)
        return cls(number=number, id=given, fields=fields, is_openai=is_openai)

    def read_prompt(self, defaults: Mapping[str, Any], sys_prompt: str | None = None) -> BatchPrompt:
        """Return the prompt; `defaults` are the options that the line does not set.

        Raises:
            InvalidBatchLine: A field is missing or not supported.
            InvalidArgument: A field has a wrong value.
        """
        if self.error is not None:
            raise self.error
        if is_integer(n := self._answer_fields.get("n"), MAX_ANSWERS + 1):
            raise InvalidArgument("n", n, f"at most {MAX_ANSWERS}")
        return _openai_prompt(self.fields, defaults) if self.is_openai else self._plain(defaults, sys_prompt)

    def _plain(self, defaults: Mapping[str, Any], sys_prompt: str | None) -> BatchPrompt:
        _check_names(self.fields, _PLAIN_FIELDS)
        fields = dict(self.fields)
        given = [name for name in ("prompt", "messages") if name in fields]
        if len(given) != 1:
            raise InvalidBatchLine("The line must have either a prompt or messages.")
        return BatchPrompt(
            prompt=_prompt(given[0], fields[given[0]]),
            sys_prompt=fields.get("sys_prompt", sys_prompt),
            options=_with_defaults(_options(fields), defaults),
            n=fields.get("n"),
        )


def _openai_prompt(line: Mapping[str, Any], defaults: Mapping[str, Any]) -> BatchPrompt:
    _check_names(line, {"custom_id", "method", "url", "body"})
    if line.get("method", "POST") != "POST":
        raise InvalidArgument("method", line["method"], "POST")
    url, body = line.get("url"), line.get("body")
    if url not in ("/v1/chat/completions", "/v1/completions"):
        raise InvalidArgument("url", url, "/v1/chat/completions or /v1/completions")
    if not isinstance(body, dict):
        raise WrongType("body", body, "a JSON object")
    is_chat = url == "/v1/chat/completions"
    call = read_chat(body) if is_chat else read_completion(body)
    if call.stream or call.echo:
        name = "stream" if call.stream else "echo"
        raise InvalidArgument(name, True, "false in a batch")
    prompt = call.prompts[0]
    if call.is_list or not (is_chat or isinstance(prompt, str)):
        raise WrongType("prompt", body["prompt"], "a string")
    has_length = any(body.get(name) is not None for name in _MAX_TOKENS)
    own = {name: it for name, it in call.options.items() if has_length or name != "max_new_tokens"}
    length = {"max_new_tokens": call.options["max_new_tokens"]}
    return BatchPrompt(prompt=prompt, options={**length, **_with_defaults(own, defaults)}, n=call.n)


def _prompt(name: str, value: Any) -> Any:
    kind, expected = (str, "a string") if name == "prompt" else (list, "a list of messages")
    if not isinstance(value, kind):
        raise WrongType(name, value, expected)
    return value


def _with_defaults(own: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a line, and the defaults of others: a constraint replaces any other one."""
    replaced = _CONSTRAINTS if _CONSTRAINTS & own.keys() else frozenset()
    return {**{name: value for name, value in defaults.items() if name not in replaced}, **own}


def _options(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a line as keyword arguments of `LLM.generate`."""
    options = {name: value for name, value in fields.items() if name in _OPTIONS and name != "n"}
    lengths = [name for name in ("max_new_tokens", *_MAX_TOKENS) if name in fields]
    if len(lengths) > 1:
        raise InvalidBatchLine(f"{' and '.join(lengths)} are the same option: keep one of them.")
    if lengths:
        options["max_new_tokens"] = fields[lengths[0]]
    if "logit_bias" in options:
        options["logit_bias"] = read_logit_bias(options["logit_bias"])
    return options


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _check_names(fields: Mapping[str, Any], names: "frozenset[str] | set[str]") -> None:
    for name in fields:
        if name not in names:
            if name in _PYTHON_ONLY:
                advice = " Remove it, or call LLM.complete in Python, which has this option."
            else:
                similar = suggest_name(name, names)
                advice = f" Did you mean {similar}?" if similar else " Remove it."
            raise InvalidBatchLine(f"The field {short_repr(name)} is not supported.{advice}")
