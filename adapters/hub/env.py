"""The endpoint, token, cache folder and offline mode, with defaults from the environment."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from litgpt.domain.errors import AccessDenied, HubUnreachable
from litgpt.domain.formatting.redaction import is_valid_token, redact
from litgpt.domain.reference import ModelReference

DEFAULT_ENDPOINT = "https://huggingface.co"

logger = logging.getLogger(__name__)

T = TypeVar("T")


def resolve_endpoint(endpoint: str | None) -> str:
    """Return the URL of the Hub; None uses HF_ENDPOINT."""
    if endpoint is not None:
        return endpoint.rstrip("/")
    from huggingface_hub import constants

    return constants.ENDPOINT


def is_valid_endpoint(endpoint: str) -> bool:
    """Return whether a path can be appended to an endpoint, such as https://huggingface.co.

    It cannot if a password contains `/`, `?` or `#` without percent-encoding.
    """
    try:
        parts = urlsplit(endpoint)
        has_host = bool(parts.hostname) and parts.port != 0  # a non-numeric port raises ValueError
    except ValueError:
        return False
    is_plain = endpoint.isprintable() and not {"@", "?", "#"} & {*endpoint.rpartition("@")[2], *parts.path}
    return parts.scheme in ("http", "https") and has_host and is_plain


def endpoint_name(endpoint: str) -> str:
    """Return the name of the Hub for messages, without a password from its URL."""
    if not is_valid_endpoint(endpoint):
        return "the Hugging Face Hub at the URL in HF_ENDPOINT"
    return f"the Hugging Face Hub{'' if endpoint == DEFAULT_ENDPOINT else f' at {redact(endpoint)}'}"


def resolve_token(reference: ModelReference) -> str | None:
    """Return the token; None uses that of huggingface_hub. Invalid characters raise AccessDenied."""
    if reference.token:
        return reference.token
    from huggingface_hub import get_token

    if not is_valid_token(get_token() or ""):
        reason = (
            "the access token in HF_TOKEN, or of `hf auth login`, has invalid characters. Set HF_TOKEN to "
            "the token alone, or log in again."
        )
        raise AccessDenied(reference.name, reason)
    return None


def resolve_cache_dir(folder: Path | None) -> Path:
    """Return the cache folder; None uses HF_HUB_CACHE or HF_HOME."""
    if folder is not None:
        return Path(folder)
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def is_offline(reference: ModelReference) -> bool:
    """Return whether offline mode is on, by the reference or by HF_HUB_OFFLINE."""
    if reference.offline is not None:
        return reference.offline
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def from_cache_or_hub(
    reference: ModelReference,
    cached: Callable[[], T] | None,
    fetch: Callable[[], T],
    *,
    is_complete: bool = True,
) -> T:
    """Return a resource from the cache if it is cached, otherwise from the Hub.

    `offline=False` in the reference checks the Hub for a newer version; `offline=True` never accesses the
    network. If the Hub does not respond, the cached version is used, with a warning in the log.

    Args:
        reference: The requested repository.
        cached: Reads the resource from the cache; None if it is not cached.
        fetch: Downloads the resource.
        is_complete: Whether the cache has all optional files, such as the tokenizer.

    Raises:
        HubUnreachable: The resource is not cached, and the Hub does not respond or offline mode is on.
    """
    offline = is_offline(reference)
    if cached is not None and (offline or (reference.offline is None and is_complete)):
        logger.info("Using the cached files of %s without a request to the Hub.", reference)
        return cached()
    if offline:
        raise HubUnreachable(reference.name, "offline mode is on (offline=True, or HF_HUB_OFFLINE).")
    try:
        return fetch()
    except HubUnreachable as error:
        if cached is None:
            raise
        logger.warning("Using the cached files of %s, which may be outdated: %s", reference, error.reason)
        return cached()
