"""`/set` and `/show`: the settings of a chat."""

from collections.abc import Mapping
from typing import Any

from litgpt.cli import console

PARAMETERS: dict[str, type[int] | type[float]] = {
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "max_new_tokens": int,
    "seed": int,
}


def changed_settings(settings: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    """Return the settings after `/set TEXT`, or None, with an explanation, if the text is not a setting.

    Args:
        settings: The keyword arguments of `LLM.chat`.
        text: Name and value, such as `temperature 0.5` or `--top-k none`.

    """
    name, _, value = text.partition(" ")
    name, value = name.lstrip("-").replace("-", "_"), value.strip()
    if name not in PARAMETERS or not value:
        console.note(f"/set NAME VALUE, where NAME is one of {', '.join(PARAMETERS)}, system")
        return None
    try:
        parsed = None if value.lower() in ("none", "all") else PARAMETERS[name](value)
    except ValueError:
        console.error(f"{name} must be a number or none, and not {value!r}.")
        return None
    return {**settings, name: parsed}


def show_settings(settings: Mapping[str, Any]) -> None:
    """Write the settings as remarks, one a line."""
    for name in PARAMETERS:
        console.note(f"{name}: {settings.get(name)}")
