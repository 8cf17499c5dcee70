"""What is checked and set up before the Hub is asked: usable addresses, and logs without secrets."""

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
"""The loggers of other libraries that write the addresses that they request."""


class _RedactSecrets(logging.Filter):
    """Removes passwords, signatures and tokens from a record, whoever handles it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        return True


_FILTER = _RedactSecrets()


def prepare_connection(name: str, endpoint: str) -> None:
    """Check the addresses of the Hub and of the proxy, and keep secrets out of other libraries' logs.

    Args:
        name: The repository that the Hub will be asked for.
        endpoint: The address of the Hub.

    Raises:
        HubUnreachable: An address cannot be used. The message does not show it, as it may hold a password.
        NotInstalled: The proxy needs a package.

    """
    for logger in _LOGGERS:
        logging.getLogger(logger).addFilter(_FILTER)  # which a logger takes once
    if not is_valid_endpoint(endpoint):
        example = "https://huggingface.co; in a password, percent-encode what has a meaning in addresses"
        raise HubUnreachable(name, f"HF_ENDPOINT is not an address such as {example}.")
    from huggingface_hub import get_session

    try:
        get_session()
    except ImportError as error:
        package = "socksio" if "socksio" in str(error) else str(error.name)
        raise NotInstalled("The proxy in the environment", package, f"pip install {package}") from None
    except Exception as error:  # of a kind that httpx and httpx2 each have of their own
        if not isinstance(error, ValueError) and type(error).__name__ != "InvalidURL":
            raise
        reason = "a proxy in the environment (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY) is not an address such as"
        raise HubUnreachable(name, f"{reason} http://host:8080.") from None
