"""Which Hub is asked, whether it may be, and where its files go.

What is not said, huggingface_hub's environment says.
"""

from pathlib import Path
from urllib.parse import urlsplit

from litgpt.domain.errors import AccessDenied
from litgpt.domain.reference import ModelReference
from litgpt.domain.secrets import is_token, without_secrets

HUB = "https://huggingface.co"

NOT_ASKED = "it is not to be asked (offline=True, or HF_HUB_OFFLINE)."


def endpoint_of(endpoint: str | None) -> str:
    """Return the address of the Hub; None is what HF_ENDPOINT says."""
    if endpoint is not None:
        return endpoint.rstrip("/")
    from huggingface_hub import constants

    return constants.ENDPOINT


def is_address(endpoint: str) -> bool:
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


def hub_at(endpoint: str) -> str:
    """Return what to call the Hub at an address, without a password that the address may have."""
    if not is_address(endpoint):
        return "the Hugging Face Hub at the address that HF_ENDPOINT has"
    return f"the Hugging Face Hub{'' if endpoint == HUB else f' at {without_secrets(endpoint)}'}"


def token_to_show(reference: ModelReference) -> str | None:
    """Return the token to show the Hub; None lets huggingface_hub show the one it finds, if any.

    Raises:
        AccessDenied: That one, of HF_TOKEN or of a login, cannot be sent.

    """
    if reference.token:
        return reference.token
    from huggingface_hub import get_token

    if not is_token(get_token() or ""):
        reason = (
            "the access token of HF_TOKEN, or of `hf auth login`, has characters that a token never has. Set "
            "HF_TOKEN to the token alone, or log in again."
        )
        raise AccessDenied(reference.name, reason)
    return None


def cache_of(folder: Path | None) -> Path:
    """Return the folder of the cache; None is what HF_HUB_CACHE or HF_HOME says."""
    if folder is not None:
        return Path(folder)
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def stays_offline(reference: ModelReference) -> bool:
    """Return whether the Hub is not to be asked for this; what is not said, HF_HUB_OFFLINE says."""
    if reference.offline is not None:
        return reference.offline
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)
