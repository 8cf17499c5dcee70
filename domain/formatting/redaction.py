"""Remove secrets from text: passwords and signatures in URLs, and access tokens."""

import re

# `user:password@` of a URL, up to the last @ before the path; pathlib collapses the two slashes.
_URL_USER = re.compile(r"(:/+)[^\s/?#]*@")
# The query of a URL (with one slash after pathlib), or of the path of a URL.
_URL_QUERY = re.compile(r"(:/+[^\s?#'\"<>]*)[?#][^\s'\"<>)]*|(?<=[\w/.-])\?[\w.-]+=[^\s'\"<>)]*")
# `user:password@host` without a scheme, as in proxy settings.
_LOGIN = re.compile(r"(?<![\w.%+/-])[\w.%+-]+:[^\s/@'\"]+@(?=[\w\[])")
# An access token of the Hub has a digit or a capital; names such as hf_checkpoint do not.
_TOKEN = re.compile(r"\bhf_(?:[a-z]+_)?(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,}[\w.-]*(?<![.-])")


class Redacted:
    """Placeholder of a secret in an error message."""

    def __repr__(self) -> str:
        return "the given value, which is not shown"


def redact(text: str) -> str:
    """Return a text without credentials and queries of URLs, and without Hub tokens."""
    if "@" in text:
        text = _LOGIN.sub("", _URL_USER.sub(r"\1", text))
    return _TOKEN.sub("hf_…", _URL_QUERY.sub(r"\1", text))


def is_valid_token(token: str) -> bool:
    """Return whether a token is valid in an HTTP header; an empty token is valid and means none."""
    return token.isascii() and token.isprintable() and " " not in token
