"""Measure `litgpt` through its Python interface: this library, and LitGPT 0.5.13 in its own environment.

They share the interface, so the same program measures both.
"""

from collections.abc import Callable
from typing import Any

from measuring import measure


def import_library() -> None:
    """Import what the documentation's first example imports."""
    from litgpt import LLM  # noqa: F401


def load(folder: str) -> Any:
    """Load the model and its tokenizer; both take bf16 by themselves where it is supported."""
    from litgpt import LLM

    return LLM.load(folder)


def generate(llm: Any, prompt: str, at_most: int, on_token: Callable[[int], None]) -> None:
    """Generate greedily."""
    for token in llm.generate(prompt, max_new_tokens=at_most, top_k=1, stream=True, return_as_token_ids=True):
        on_token(int(token))


if __name__ == "__main__":
    measure("litgpt", import_library=import_library, load=load, generate=generate)
