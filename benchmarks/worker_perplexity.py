"""Compute the perplexity of texts: `worker_perplexity.py MODEL --engine native --texts FILE --tokens 1536`.

In windows of 512 tokens, each of which is read on its own. The engine of torch computes in float32.
"""

import json
import math
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from litgpt import LLM

WINDOW = 512

Logits = Callable[[list[int]], "np.ndarray[Any, np.dtype[np.float32]]"]


def native_logits(llm: LLM) -> Logits:
    """Return a function from the tokens of a window to the logits after each, (T, V)."""
    model = llm._placed.model

    def logits(ids: list[int]) -> Any:
        sequence = model.new_sequence()
        found = model.step([(sequence, ids)], range(len(ids)))
        sequence.close()
        return found

    return logits


def torch_logits(llm: LLM) -> Logits:
    """Return a function from the tokens of a window to the logits after each, (T, V)."""
    import torch

    def logits(ids: list[int]) -> Any:
        with torch.inference_mode():
            return llm(torch.tensor([ids]))[0].float().numpy()

    return logits


def perplexity(logits: Logits, ids: list[int]) -> float:
    """Return the perplexity of a text of whole windows."""
    total, count = 0.0, 0
    for start in range(0, len(ids), WINDOW):
        window = ids[start : start + WINDOW]
        scores = logits(window)[:-1]
        highest = scores.max(-1)
        normalizers = highest + np.log(np.exp(scores - highest[:, None]).sum(-1))
        total += float((normalizers - scores[np.arange(WINDOW - 1), window[1:]]).sum())
        count += WINDOW - 1
    return math.exp(total / count)


def main() -> None:
    """Print the perplexity of each text."""
    parser = ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads")  # OMP_NUM_THREADS is set
    parser.add_argument("--engine", choices=("native", "torch"))
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--tokens", type=int, help="the length of the part of each text that is read")
    arguments = parser.parse_args()
    llm = LLM.load(arguments.model, distribute=None, quiet=True)
    if arguments.engine == "native":
        llm.distribute(engine="native")
        logits = native_logits(llm)
    else:
        llm.distribute("cpu", precision="32-true", engine="torch")
        logits = torch_logits(llm)
    texts = json.loads(arguments.texts.read_text(encoding="utf-8"))
    ids = {name: llm.tokenizer.encode(text).tolist()[: arguments.tokens] for name, text in texts.items()}
    print(json.dumps({name: perplexity(logits, tokens) for name, tokens in ids.items()}))


if __name__ == "__main__":
    main()
