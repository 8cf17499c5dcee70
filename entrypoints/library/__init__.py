"""LitGPT: load a language model, generate with it, spread it over devices, measure it and train it.

Names are loaded when they are first touched, so that `import litgpt` costs nothing: torch comes with `LLM`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litgpt.llm import LLM as LLM

_HOMES = {"LLM": "litgpt.llm"}

__all__ = ["LLM"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'litgpt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
