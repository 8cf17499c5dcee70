"""Measure transformers, as its documentation says to use it: `generate` with a streamer."""

from argparse import Namespace
from typing import Any

from measuring import Library, OnToken, measure


def import_library() -> None:
    """Import what the documentation's first example imports."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401


def load(arguments: Namespace) -> Any:
    """Load the model and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = getattr(torch, arguments.dtype)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, padding_side="left")
    tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


class Streamer:
    """Gets the prompt first, then each token."""

    def __init__(self, on_token: OnToken) -> None:
        self.on_token = on_token
        self.begun = False

    def put(self, ids: Any) -> None:
        """Take the next ids."""
        if self.begun:
            self.on_token(int(ids))
        self.begun = True

    def end(self) -> None:
        """Take note that no more come."""


def generate(loaded: Any, prompt: str, at_most: int, on_token: OnToken) -> None:
    """Generate greedily."""
    model, tokenizer = loaded
    inputs = tokenizer(prompt, return_tensors="pt")
    model.generate(
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        max_new_tokens=at_most,
        do_sample=False,
        streamer=Streamer(on_token),
        pad_token_id=0,
    )


def generate_batch(loaded: Any, prompts: list[str], at_most: int) -> int:
    """Generate greedily for all prompts, each of which gets all its tokens."""
    model, tokenizer = loaded
    inputs = tokenizer(prompts, return_tensors="pt", padding=True)
    ids = model.generate(
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        max_new_tokens=at_most,
        min_new_tokens=at_most,
        do_sample=False,
        pad_token_id=0,
    )
    return int(ids.shape[0] * (ids.shape[1] - inputs.input_ids.shape[1]))


if __name__ == "__main__":
    measure(Library("transformers", import_library, load, generate, generate_batch))
