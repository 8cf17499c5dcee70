"""Read the JSON object in the body of a request."""

import asyncio
import json
import math
from collections.abc import MutableMapping
from typing import Any, NoReturn

from starlette.requests import Request

from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.validation.untrusted_files import error_message, parse_json
from litgpt.server.http.request_record import record_of
from litgpt.server.openai.errors import RequestRefused
from litgpt.server.sse import until_disconnect

_DEPTH = "litgpt.max_json_depth"
_DEFAULT_DEPTH = 64
_MOST_CONTAINERS = 500_000
"""The most brackets of a body, since an empty list of two bytes takes 56 in memory."""

_LARGE = 256 * 1024

_MOST_DIGITS = 20
"""Digits of the largest integer of 64 bits."""


def set_max_depth(scope: MutableMapping[str, Any], depth: int) -> None:
    """Set how deep arrays and objects of the body may be nested, in the ASGI scope of a request."""
    scope[_DEPTH] = depth


async def read_json(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body of a request.

    Raises:
        RequestRefused: The body is not an object in JSON and UTF-8. It is refused as well if it has a name
            twice in one object, a number that is not finite, an integer of more than 20 digits or a lone
            surrogate, or if it is nested too deeply.
    """
    raw = record_of(request.scope).body = await request.body()
    if not raw.strip():
        raise RequestRefused(400, "The request has no body: it must be a JSON object.", code="invalid_json")
    if raw.count(b"[") + raw.count(b"{") > _MOST_CONTAINERS:
        raise RequestRefused(413, "The body has too many arrays and objects.")
    depth = request.scope.get(_DEPTH, _DEFAULT_DEPTH)
    try:
        # A large body takes long, and other answers go on meanwhile.
        if len(raw) > _LARGE:
            value = await until_disconnect(request, asyncio.to_thread(_parse, raw, depth))
        else:
            value = _parse(raw, depth)
    except UnicodeDecodeError:
        raise RequestRefused(400, "The body is not in UTF-8.", code="invalid_json") from None
    except UnicodeEncodeError:
        raise RequestRefused(
            400, "The body has a lone surrogate, which text cannot have.", code="invalid_json"
        ) from None
    except json.JSONDecodeError as error:
        where = f"{error.msg}: line {error.lineno}, column {error.colno}"
        raise RequestRefused(400, f"The body is not JSON: {where}.", code="invalid_json") from None
    except ValueError as error:
        raise RequestRefused(
            400, f"The body is not valid: {error_message(error)}.", code="invalid_json"
        ) from None
    if not isinstance(value, dict):
        kind = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(
            type(value), "a number"
        )
        raise RequestRefused(400, f"The body must be a JSON object, not {kind}.", code="invalid_json")
    return value


def _parse(raw: bytes, depth: int) -> Any:
    return parse_json(
        raw,
        max_depth=depth,
        object_pairs_hook=_object,
        parse_int=_integer,
        parse_float=_number,
        parse_constant=_constant,
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {short_repr(name)} in an object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it has an integer of {len(digits.lstrip('-'))} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("it has a number beyond the range of 64-bit floats")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")
