"""Measure `litgpt` through its Python interface: this library, and LitGPT 0.5.13 in its own environment.

They share the interface, so the same program measures both. With `--engine`, it is this library.
"""

import sys
from argparse import Namespace
from typing import Any

from measuring import Library, OnToken, measure

OPTIONS: dict[str, Any] = {"top_k": 1, "cache_prompt": False, "prompt_lookup_num_tokens": 0}
"""Of this library: every prompt and every token is computed, one token at a time, as by the others."""


def import_library() -> None:
    """Import what the documentation's first example imports."""
    from litgpt import LLM  # noqa: F401


def load(arguments: Namespace) -> Any:
    """Load the model and its tokenizer; by default, both take bf16 where it is supported.

    Prompts are not put into the chat template of a GGUF file, so that every library computes the same.
    """
    from litgpt import LLM

    if arguments.engine is None:
        return LLM.load(arguments.model)
    llm = LLM.load(arguments.model, distribute=None)
    llm.distribute(engine=arguments.engine)
    llm.prompt_style = "default"
    return llm


def generate(llm: Any, prompt: str, at_most: int, on_token: OnToken) -> None:
    """Generate greedily; the token ids of this library are integers, for which it may not need torch."""
    if hasattr(llm, "complete"):
        for chunk in llm.complete(prompt, max_new_tokens=at_most, stream=True, **OPTIONS):
            if chunk.token is not None:
                on_token(chunk.token)
        return
    for token in llm.generate(prompt, max_new_tokens=at_most, top_k=1, stream=True, return_as_token_ids=True):
        on_token(int(token))


def generate_batch(llm: Any, prompts: list[str], at_most: int) -> int:
    """Generate greedily for all prompts; LitGPT cannot."""
    answers = llm.complete(prompts, max_new_tokens=at_most, **OPTIONS)
    return sum(len(answer.token_ids) for answer in answers)


def describe(llm: Any) -> dict[str, Any]:
    """Return the bytes of the weights as the native engine holds them, all of which it reads for each token.

    The embedding of these models is their head, too.
    """
    placed = getattr(llm, "_placed", None)
    return {"weight_bytes": placed.nbytes} if hasattr(placed, "nbytes") else {}


if __name__ == "__main__":
    measure(
        Library(
            "litgpt",
            import_library,
            load,
            generate,
            generate_batch,
            describe=describe,
            uses_torch="native" not in sys.argv,  # it may not need torch
        )
    )
