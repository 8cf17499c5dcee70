"""What must not be printed: passwords and signatures in addresses, and access tokens."""

import re

# `user:password@` of an address, up to the last @ before the path; pathlib makes one slash of two.
_URL_USER = re.compile(r"(:/+)[^\s/?#]*@")
# Everything after the question mark of an address, or of the path of one.
_URL_QUERY = re.compile(r"(://[^\s?#'\"<>]*)[?#][^\s'\"<>)]*|(?<=[\w/.-])\?[\w.-]+=[^\s'\"<>)]*")
# The same without a scheme, as proxies are written: user:password@host.
_LOGIN = re.compile(r"(?<![\w.%+/-])[\w.%+-]+:[^\s/@'\"]+@(?=[\w\[])")
# A token of the Hub, in which there is a digit or a capital; names such as hf_checkpoint have none.
_TOKEN = re.compile(r"\bhf_(?:[a-z]+_)?(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,}[\w.-]*(?<![.-])")


class Redacted:
    """A value that is not shown."""

    def __repr__(self) -> str:
        return "the given value, which is not shown"


def redact(text: str) -> str:
    """Return a text without the user information and the queries of its addresses, and without Hub tokens."""
    if "@" in text:
        text = _LOGIN.sub("", _URL_USER.sub(r"\1", text))
    return _TOKEN.sub("hf_…", _URL_QUERY.sub(r"\1", text))


def is_valid_token(token: str) -> bool:
    """Return whether an HTTP header can carry a token; an empty one stands for none."""
    return token.isascii() and token.isprintable() and " " not in token
