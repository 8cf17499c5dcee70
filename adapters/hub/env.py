"""Which Hub is asked, whether it may be, and where its files go: by default, as the environment says."""

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
    """Return the address of the Hub; None is what HF_ENDPOINT says."""
    if endpoint is not None:
        return endpoint.rstrip("/")
    from huggingface_hub import constants

    return constants.ENDPOINT


def is_valid_endpoint(endpoint: str) -> bool:
    """Return whether an endpoint is an address to which a path can be added, such as https://huggingface.co.

    A password with a slash, a question mark or a number sign that is not percent-encoded makes it another.
    """
    try:
        parts = urlsplit(endpoint)
        has_host = bool(parts.hostname) and parts.port != 0  # a port that is not a number is a ValueError
    except ValueError:
        return False
    is_plain = endpoint.isprintable() and not {"@", "?", "#"} & {*endpoint.rpartition("@")[2], *parts.path}
    return parts.scheme in ("http", "https") and has_host and is_plain


def endpoint_name(endpoint: str) -> str:
    """Return what to call the Hub at an address, without a password that the address may have."""
    if not is_valid_endpoint(endpoint):
        return "the Hugging Face Hub at the address that HF_ENDPOINT has"
    return f"the Hugging Face Hub{'' if endpoint == DEFAULT_ENDPOINT else f' at {redact(endpoint)}'}"


def resolve_token(reference: ModelReference) -> str | None:
    """Return the token to show the Hub; None lets huggingface_hub show the one it finds, if any.

    Raises:
        AccessDenied: That one, of HF_TOKEN or of a login, cannot be sent.

    """
    if reference.token:
        return reference.token
    from huggingface_hub import get_token

    if not is_valid_token(get_token() or ""):
        reason = (
            "the access token of HF_TOKEN, or of `hf auth login`, has characters that a token never has. Set "
            "HF_TOKEN to the token alone, or log in again."
        )
        raise AccessDenied(reference.name, reason)
    return None


def resolve_cache_dir(folder: Path | None) -> Path:
    """Return the folder of the cache; None is what HF_HUB_CACHE or HF_HOME says."""
    if folder is not None:
        return Path(folder)
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def is_offline(reference: ModelReference) -> bool:
    """Return whether the Hub is not to be asked for this; what is not said, HF_HUB_OFFLINE says."""
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
    """Return something from the cache if it is there, else from the Hub.

    A reference with `offline=False` asks the Hub for something newer, and one with `offline=True` never asks
    it. If the Hub does not answer, what the cache has is used, with a warning in the log.

    Args:
        reference: What is asked for.
        cached: Returns it from the cache; None if it is not there.
        fetch: Returns it from the Hub.
        is_complete: Whether the cache lacks nothing that the Hub may have beside it.

    Raises:
        HubUnreachable: It is not in the cache, and the Hub does not answer or may not be asked.

    """
    offline = is_offline(reference)
    if cached is not None and (offline or (reference.offline is None and is_complete)):
        logger.info("%s is taken from the cache, without asking the Hub.", reference)
        return cached()
    if offline:
        raise HubUnreachable(reference.name, "it is not to be asked (offline=True, or HF_HUB_OFFLINE).")
    try:
        return fetch()
    except HubUnreachable as error:
        if cached is None:
            raise
        logger.warning("%s is taken from the cache, as it was downloaded: %s", reference, error.reason)
        return cached()
