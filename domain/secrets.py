"""What must not be printed: passwords and signatures in addresses, and access tokens."""

import re
from typing import Any

from litgpt.domain.errors import BadArgument, WrongType

# `user:password@` of an address, up to the last @ before the path, and everything after its question mark.
_USER = re.compile(r"(?<=://)[^\s/?#]*@")
_QUERY = re.compile(r"(://[^\s?'\"<>]*)\?[^\s'\"<>)]*")
_TOKEN = re.compile(r"\bhf_\w{8,}")


class Hidden:
    """A value that is not shown."""

    def __repr__(self) -> str:
        return "the given value, which is not shown"


def without_secrets(text: str) -> str:
    """Return a text without the user information and the queries of its addresses, and without Hub tokens."""
    return _TOKEN.sub("hf_…", _QUERY.sub(r"\1", _USER.sub("", text)))


def token_of(value: Any) -> str | None:
    """Return an access token without surrounding white space; None stays None.

    Raises:
        WrongType: It is not a string.
        BadArgument: An HTTP header cannot carry it. The message does not show it.

    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise WrongType("access_token", Hidden(), "a string or None")
    token = value.strip()
    if not is_token(token):
        raise BadArgument("access_token", Hidden(), "one word of printable ASCII characters")
    return token


def is_token(token: str) -> bool:
    """Return whether an HTTP header can carry a token; an empty one stands for none."""
    return token.isascii() and token.isprintable() and " " not in token
