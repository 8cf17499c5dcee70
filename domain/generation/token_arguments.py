"""Arguments that name tokens: logit biases, allowed and stop tokens, and sequences that must not appear."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.validators import integer, real

LogitsProcessor: TypeAlias = Callable[[list[int], Any], Any]
"""`processor(token_ids, logits)`: given the ids of the prompt and the answer so far and the logits (V,) of
the next token in float32, an array of numpy in the native engine and a tensor in the torch engine, returns
the logits to sample from, of the same shape. It may change its arguments."""

MAX_LOGIT_BIAS = 100.0
"""The largest bias in either direction, as in OpenAI's API: it nearly excludes or forces a token."""


def parse_logit_bias(value: object) -> tuple[tuple[int, float], ...]:
    """Return a mapping of token ids to biases, or None, as pairs in the order of the ids.

    Raises:
        WrongType: It is not a mapping of integers to numbers.
        InvalidArgument: An id is negative, or a bias is outside -100 to 100.
    """
    expected = "a dict of token ids and biases from -100 to 100"
    try:
        biases = dict(value or {})  # type: ignore[call-overload] # a mapping, or pairs of an earlier result
    except (TypeError, ValueError) as error:
        raise WrongType("logit_bias", value, expected) from error
    return tuple(
        sorted(
            (
                integer("logit_bias", token, 0, expected),
                real("logit_bias", bias, -MAX_LOGIT_BIAS, MAX_LOGIT_BIAS),
            )
            for token, bias in biases.items()
        )
    )


def parse_token_ids(name: str, value: object) -> tuple[int, ...]:
    """Return token ids in ascending order, each once.

    Raises:
        WrongType: It is not a collection of integers.
        InvalidArgument: An id is negative.
    """
    expected = "a list of token ids"
    return tuple(sorted({integer(name, token, 0, expected) for token in _elements(name, value, expected)}))


def parse_allowed_token_ids(value: object) -> tuple[int, ...] | None:
    """Return the only tokens that may be sampled, or None for all; an empty list is an InvalidArgument."""
    if value is None:
        return None
    ids = parse_token_ids("allowed_token_ids", value)
    if not ids:
        raise InvalidArgument("allowed_token_ids", value, "at least one token id, or None to allow all")
    return ids


def parse_token_sequences(name: str, value: object) -> tuple[tuple[int, ...], ...]:
    """Return sequences of token ids, each once; an empty sequence is an InvalidArgument."""
    expected = "a list of strings and of non-empty lists of token ids"
    sequences = []
    for entry in _elements(name, value, expected):
        ids = tuple(integer(name, token, 0, expected) for token in _elements(name, entry, expected))
        if not ids:
            raise InvalidArgument(name, value, expected)
        sequences.append(ids)
    return tuple(dict.fromkeys(sequences))


def split_strings(name: str, value: object) -> tuple[tuple[str, ...], tuple[object, ...]]:
    """Return the strings of a list, and its other elements; None is an empty list."""
    expected = "a string, or a list of strings and token ids"
    entries = (value,) if isinstance(value, str) else _elements(name, value, expected)
    strings = tuple(entry for entry in entries if isinstance(entry, str))
    if not all(strings):
        raise InvalidArgument(name, value, "free of empty strings")
    return strings, tuple(entry for entry in entries if not isinstance(entry, str))


def parse_logits_processors(value: object) -> tuple[LogitsProcessor, ...]:
    """Return a callable, or several of them, or None, as a tuple."""
    processors = (
        (value,) if callable(value) else _elements("logits_processor", value, "a function, or a list of them")
    )
    if not all(map(callable, processors)):
        raise WrongType("logits_processor", value, "a function, or a list of them")
    return tuple(processors)  # type: ignore[arg-type] # callable, as checked


def token_field(parse: Callable[[Any], Any], default: object = ()) -> Any:
    """Return a field whose value is parsed by one of the functions above."""
    return attrs.field(default=default, converter=parse)


def _elements(name: str, value: object, expected: str) -> tuple[object, ...]:
    if value is None:
        return ()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise WrongType(name, value, expected)
    try:
        return tuple(value)
    except TypeError as error:  # an array without dimensions
        raise WrongType(name, value, expected) from error
