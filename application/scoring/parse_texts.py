"""Check the texts of a call before any work is done."""

from collections.abc import Sequence

from litgpt.domain.errors import InvalidArgument, WrongType

_PROMPTS = "a text, or a list of texts"
_CONTINUATIONS = "a list of texts"
_LISTS = "a list with a list of texts for each prompt"


def parse_texts(name: str, value: object) -> tuple[list[str], bool]:
    """Return a text, or a list of texts, as a list, and whether it was a list.

    Raises:
        WrongType: It is something else.
        InvalidArgument: A text is empty.
    """
    texts, is_batch = _texts(name, value, _PROMPTS)
    if not all(texts):
        raise InvalidArgument(name, value, "free of empty texts")
    return texts, is_batch


def parse_scored(prompt: object, continuations: object) -> tuple[list[tuple[str, list[str]]], bool]:
    """Return each prompt with its continuations, and whether a list of prompts was passed.

    Raises:
        WrongType: An argument is neither a text nor a list of the right kind.
        InvalidArgument: A continuation is empty, or there is not one list of continuations for each prompt.
    """
    prompts, is_batch = _texts("prompt", prompt, _PROMPTS)
    if not is_batch:
        return [(prompts[0], _continuations(continuations, _CONTINUATIONS))], False
    lists = _elements("continuations", continuations, _LISTS)
    if len(lists) != len(prompts):
        expected = f"as long as the list of prompts ({len(prompts)})"
        raise InvalidArgument("continuations", continuations, expected)
    return [(text, _continuations(one, _LISTS)) for text, one in zip(prompts, lists, strict=True)], True


def _continuations(value: object, expected: str) -> list[str]:
    texts = _elements("continuations", value, expected)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise WrongType("continuations", wrong[0], expected)
    if not all(texts):
        raise InvalidArgument("continuations", value, "free of empty texts")
    return [text for text in texts if isinstance(text, str)]


def _texts(name: str, value: object, expected: str) -> tuple[list[str], bool]:
    if isinstance(value, str):
        return [value], False
    texts = _elements(name, value, expected)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise WrongType(name, wrong[0], expected)
    return [text for text in texts if isinstance(text, str)], True


def _elements(name: str, value: object, expected: str) -> list[object]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise WrongType(name, value, expected)
    return list(value)
