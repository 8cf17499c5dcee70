"""What a server says at its start."""

from litgpt.application.serving.served_model import ServedModel
from litgpt.domain.formatting.units import format_bytes
from litgpt.server.settings import ServerSettings


def startup_text(model: ServedModel, settings: ServerSettings, url: str) -> str:
    """Return the address of a server, what it can hold, and a warning if anyone may use it.

    Args:
        model: The model, on its devices.
        settings: The address of the server, and who may use it.
        url: The URL of the server, without a slash at the end.
    """
    engine = model.generator.open()
    try:
        requests = engine.scheduler.limits.max_sequences
        tokens = engine.pages.capacity * engine.pages.page_size
    finally:
        engine.close()
    weights = "" if model.nbytes is None else f"{format_bytes(model.nbytes)} of weights; "
    capacity = f"{weights}{requests:,} requests at a time, with {tokens:,} tokens together"
    return _text(model.name, capacity, settings, url)


def replicas_text(name: str, count: int, settings: ServerSettings, url: str) -> str:
    """Return what `startup_text` says, for a number of replicas."""
    return _text(name, f"{count} replicas, one per device", settings, url)


def _text(name: str, capacity: str, settings: ServerSettings, url: str) -> str:
    lines = [f"Serving {name} at {url}", f"  OpenAI's API: {url}/v1", f"  {capacity}"]
    if not settings.is_local and not settings.api_keys:
        lines.append(
            "  WARNING: anyone who can reach this machine may use the server. Pass --api-key-file, or set "
            "LITGPT_API_KEYS."
        )
    elif not settings.is_local and settings.tls_cert is None:
        lines.append(
            "  WARNING: keys and texts cross the network unencrypted. Pass --tls-cert, or use a proxy that "
            "adds TLS."
        )
    return "\n".join([*lines, "  Ctrl+C stops it."])
