"""Which Hub is asked, whether it may be, and where its files go.

What is not said, huggingface_hub's environment says.
"""

from pathlib import Path

from litgpt.domain.reference import ModelReference

HUB = "https://huggingface.co"

NOT_ASKED = "it is not to be asked (offline=True, or HF_HUB_OFFLINE)."


def endpoint_of(endpoint: str | None) -> str:
    """Return the address of the Hub; None is what HF_ENDPOINT says."""
    if endpoint is not None:
        return endpoint.rstrip("/")
    from huggingface_hub import constants

    return constants.ENDPOINT


def hub_at(endpoint: str) -> str:
    """Return what to call the Hub at an address."""
    return f"the Hugging Face Hub{'' if endpoint == HUB else f' at {endpoint}'}"


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
