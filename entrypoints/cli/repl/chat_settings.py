"""`/set` and `/show`: the settings of a chat."""

from collections.abc import Mapping
from typing import Any

from litgpt.cli import console
from litgpt.domain.validation.option_names import suggest_name

PARAMETERS: dict[str, type[int] | type[float]] = {
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "repetition_penalty": float,
    "presence_penalty": float,
    "frequency_penalty": float,
    "max_new_tokens": int,
    "reasoning_budget": int,
    "seed": int,
}


def update_settings(settings: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    """Return the settings after `/set TEXT`; if the text is invalid, show a message and return None.

    `text` is a name and a value, such as `temperature 0.5` or `--top-k none`.
    """
    name, _, value = text.partition(" ")
    name, value = name.lstrip("-").replace("-", "_"), value.strip()
    if name not in PARAMETERS or not value:
        close = suggest_name(name, PARAMETERS) if name not in PARAMETERS else None
        advice = f" Did you mean {close}?" if close else ""
        console.note(f"/set NAME VALUE, where NAME is one of {', '.join(PARAMETERS)}, system.{advice}")
        return None
    others = {key: setting for key, setting in settings.items() if key != name}
    if value == "default":
        return others
    try:
        return others | {name: None if value.lower() in ("none", "all") else PARAMETERS[name](value)}
    except ValueError:
        console.error(f"{name} must be a number, none or default, not {value!r}.")
        return None


def show_settings(settings: Mapping[str, Any], sampling: Any) -> None:
    """Write the settings in effect to stderr, one per line.

    `sampling` has them as attributes, with the model's defaults, as `SamplingParams` has.
    """
    for name in PARAMETERS:
        value = getattr(sampling, name, settings.get(name))
        console.note(f"{name}: {'none' if value is None else value}")
