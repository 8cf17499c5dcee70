"""The fields of OpenAI's requests, and what this library does with each.

Every field is supported, has one accepted value, is ignored, or is refused by name; `docs/openai-api.md` is
generated from these tables.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.validation.option_names import suggest_name

Support: TypeAlias = Literal["supported", "default only", "ignored", "refused"]


@attrs.frozen
class Field:
    """A field of a request.

    Attributes:
        support: What happens with it.
        note: What it does here, if that is not plain; why it is refused and what to do instead.
        accepted: With "default only", the accepted values.
        is_own: Whether it is this library's, not OpenAI's.
    """

    support: Support = "supported"
    note: str = ""
    accepted: tuple[Any, ...] = ()
    is_own: bool = False


Fields: TypeAlias = Mapping[str, Field]


class UnsupportedField(InvalidArgument):
    """A field of a request is not supported; `expected` says what to do instead."""

    def __str__(self) -> str:
        return f"The field {short_repr(self.name)} is not supported. {self.expected}"


def _only(*accepted: Any, note: str = "") -> Field:
    return Field("default only", note, accepted)


def _own(note: str) -> Field:
    return Field(note=note, is_own=True)


_IGNORED = Field("ignored")
_SAMPLING_OWN: Fields = {
    "top_k": _own("Sample from this many likeliest tokens; 0 or -1: from all."),
    "min_p": _own("Sample from the tokens with at least this fraction of the highest probability."),
    "typical_p": _own("Locally typical sampling."),
    "repetition_penalty": _own("As in transformers."),
    "bad_words": _own("Strings or lists of token ids that do not appear in the answer."),
    "allowed_token_ids": _own("The only tokens that can be sampled."),
    "min_tokens": _own("The number of tokens before which nothing ends the answer."),
    "ignore_eos": _own("Whether to continue after the model's stop tokens."),
    "stop_token_ids": _own("Tokens that end the answer."),
    "include_stop": _own("Whether a stop string is part of the answer."),
    "dry_multiplier": _own("The strength of DRY."),
    "dry_base": _own("See the sampling guide."),
    "dry_allowed_length": _own("See the sampling guide."),
    "dry_sequence_breakers": _own("See the sampling guide."),
    "xtc_probability": _own("The probability of XTC."),
    "xtc_threshold": _own("See the sampling guide."),
    "cache_prompt": _own("Whether the KV cache may be shared with other requests."),
    "prompt_lookup_num_tokens": _own("The largest number of tokens of a draft; 0: no drafts."),
    "regex": _own("A regular expression that the answer matches."),
    "grammar": _own("A grammar in Lark's syntax that the answer matches."),
    "choices": _own("A list of strings, of which the answer is one."),
    "schema": _own("A JSON schema that the answer matches, like `response_format`."),
}
_SAMPLING: Fields = {
    "model": Field(note="The served model, or `model:adapter`. None: the model."),
    "frequency_penalty": Field(note="Counts the tokens of the answer."),
    "presence_penalty": Field(note="Counts the tokens of the answer."),
    "logit_bias": Field(note="By token id."),
    "n": Field(note="Up to 128; answers share the prompt's KV cache."),
    "seed": Field(note="The same seed gives the same answer, also beside other requests."),
    "stop": Field(note="A string or a list of any length."),
    "stream": Field(),
    "stream_options": Field(note="`include_usage`; `include_obfuscation` has no effect."),
    "temperature": Field(note="Its default is the model's."),
    "top_p": Field(note="Its default is the model's."),
    "user": _IGNORED,
    "max_tokens": Field(note="Without it, an answer ends at the context length."),
}
_ACCOUNT: Fields = {
    "metadata": _IGNORED,
    "store": Field("ignored", "Nothing is stored."),
    "safety_identifier": _IGNORED,
    "prompt_cache_key": Field("ignored", "Prefixes are shared without a key."),
    "prompt_cache_options": Field("ignored", "Prefixes are shared automatically."),
    "prompt_cache_retention": Field("ignored", "Prefixes are evicted least recently used."),
    "service_tier": _only("auto", "default"),
    "moderation": Field("refused", "Remove it: this server does not moderate."),
}

CHAT_FIELDS: Fields = {
    **_SAMPLING,
    "messages": Field(note="Text only. Roles are those of the chat template."),
    "max_completion_tokens": Field(note="The same as `max_tokens`."),
    "logprobs": Field(note="Of the model, before all sampling parameters."),
    "top_logprobs": Field(note="Up to 20; needs `logprobs`."),
    "response_format": Field(note="`text`, `json_object` or `json_schema`, which is always strict."),
    "tools": Field(note="Functions."),
    "tool_choice": Field(note="`auto`, `none`, `required` or a function."),
    "parallel_tool_calls": Field(),
    "reasoning_effort": Field(
        note="Passed to the chat template; `none` also sets `enable_thinking` to false there."
    ),
    "modalities": _only(["text"]),
    "verbosity": _only("medium"),
    "audio": Field("refused", "Remove it: only text models are served."),
    "prediction": Field("refused", "Remove it: drafts are made from earlier text automatically."),
    "web_search_options": Field("refused", "Remove it, or pass a tool."),
    "functions": Field("refused", "Pass them as tools."),
    "function_call": Field("refused", "Pass it as tool_choice."),
    **_ACCOUNT,
    **_SAMPLING_OWN,
    "chat_template_kwargs": _own("Variables of the chat template, such as `enable_thinking`."),
    "continue_final_message": _own("Whether to continue the last message instead of answering it."),
    "add_generation_prompt": Field(
        "default only", "Set continue_final_message instead.", (True,), is_own=True
    ),
    "reasoning_budget": _own("The largest number of tokens of the reasoning."),
}

COMPLETION_FIELDS: Fields = {
    **_SAMPLING,
    "prompt": Field(note="A string, a list of token ids, or a list of either."),
    "max_tokens": Field(note="16 by default, as in OpenAI's API; 0 with `echo`."),
    "echo": Field(note="Whether the text begins with the prompt, with its log-probabilities."),
    "logprobs": Field(
        note="The number of likeliest tokens, up to 20. `text_offset` counts the characters of the texts of "
        "the tokens before it, where a token that is a part of a character has the character U+FFFD."
    ),
    "response_format": _own("As in chat completions."),
    "best_of": _only(1),
    "suffix": Field("refused", "Remove it: the models that can fill a gap have tokens for it in the prompt."),
    **_SAMPLING_OWN,
}

EMBEDDING_FIELDS: Fields = {
    "model": _SAMPLING["model"],
    "input": Field(note="A string, a list of token ids, or a list of up to 2048 of either."),
    "encoding_format": Field(note="`float` or `base64`."),
    "dimensions": Field("refused", "Remove it, or shorten and normalize the vectors yourself."),
    "user": _IGNORED,
    "pooling": _own("`last` or `mean`; `last` by default."),
}


def read_fields(body: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """Return the fields of a request that have a value; null is the default of every field.

    Raises:
        UnsupportedField: A field is unknown or refused.
        InvalidArgument: A field has a value that is not supported.
    """
    read: dict[str, Any] = {}
    for name, value in body.items():
        field = fields.get(name)
        if field is None:
            similar = suggest_name(name, fields)
            raise UnsupportedField(name, value, f"Did you mean {similar}?" if similar else "Remove it.")
        if value is None or field.support == "ignored":
            continue
        if field.support == "refused":
            raise UnsupportedField(name, value, field.note)
        if field.support == "default only":
            if value not in field.accepted:
                expected = " or ".join(map(repr, field.accepted))
                raise InvalidArgument(name, value, f"{expected}, the only value that is supported")
            continue
        read[name] = value
    return read
