"""Measure transformers, as its documentation says to use it: `generate` with a streamer."""

from collections.abc import Callable
from typing import Any

from measuring import measure


def import_library() -> None:
    """Import what the documentation's first example imports."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401


def load(folder: str) -> Any:
    """Load the model and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    return model, AutoTokenizer.from_pretrained(folder)


class Streamer:
    """Gets the prompt first, then each token."""

    def __init__(self, on_token: Callable[[int], None]) -> None:
        self.on_token = on_token
        self.begun = False

    def put(self, ids: Any) -> None:
        """Take the next ids."""
        if self.begun:
            self.on_token(int(ids))
        self.begun = True

    def end(self) -> None:
        """Take note that no more come."""


def generate(loaded: Any, prompt: str, at_most: int, on_token: Callable[[int], None]) -> None:
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


if __name__ == "__main__":
    measure("transformers", import_library=import_library, load=load, generate=generate)
