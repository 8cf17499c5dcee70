"""Validate the URLs of the Hub and the proxy, and redact secrets in logs, before the first request."""

import logging

from litgpt.adapters.hub.env import is_valid_endpoint
from litgpt.domain.errors import HubUnreachable, NotInstalled
from litgpt.domain.formatting.redaction import redact

_TRANSPORTS = ("httpx", "httpx2")
_HTTPCORE_LOGGERS = ("connection", "http11", "http2", "proxy", "socks")
_LOGGERS = (
    "huggingface_hub.utils._http",
    "huggingface_hub.file_download",
    *_TRANSPORTS,
    *(f"{core}.{layer}" for core in ("httpcore", "httpcore2") for layer in _HTTPCORE_LOGGERS),
)
"""The loggers of other libraries that log the URLs of requests."""


class _RedactSecrets(logging.Filter):
    """Removes passwords, signatures and tokens from log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


_FILTER = _RedactSecrets()


def prepare_connection(name: str, endpoint: str) -> None:
    """Validate the URLs of the Hub and the proxy, and redact secrets in the logs of other libraries.

    Raises:
        HubUnreachable: A URL is not valid. The message omits it, because it may contain a password.
        NotInstalled: The proxy requires a package that is missing.
    """
    for logger in _LOGGERS:
        logging.getLogger(logger).addFilter(_FILTER)  # repeated calls add it once
    if not is_valid_endpoint(endpoint):
        example = "https://huggingface.co; percent-encode reserved characters in a password"
        raise HubUnreachable(name, f"HF_ENDPOINT is not a valid URL such as {example}.")
    from huggingface_hub import get_session

    try:
        get_session()
    except ImportError as error:
        package = "socksio" if "socksio" in str(error) else str(error.name)
        raise NotInstalled("The proxy in the environment", package, f"pip install {package}") from None
    except Exception as error:  # httpx and httpx2 have different exception classes
        if not isinstance(error, ValueError) and type(error).__name__ != "InvalidURL":
            raise
        reason = (
            "a proxy in the environment (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY) is not a valid URL such as"
        )
        raise HubUnreachable(name, f"{reason} http://host:8080.") from None
