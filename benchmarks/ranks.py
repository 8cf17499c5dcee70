"""Tokens per second, and the bytes that each rank reads for a token, over 1, 2 and 4 ranks.

    python benchmarks/ranks.py [MODEL] [--precision bf16-true]

Ranks of a CPU share its cores and its memory bandwidth, so they do not add up as they do on several GPUs:
what this shows is what splitting costs.
"""

import argparse
import time

from litgpt import LLM
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.parallel.tensor_parallel import shard_model

RANKS = (1, 2, 4)
TOKENS = 64


def bytes_per_rank(llm: LLM, ranks: int) -> list[int]:
    """Return the bytes of each rank's parameters."""
    loaded, size = llm._loaded, next(llm.parameters()).element_size()
    found = []
    for rank in range(ranks):
        part = shard_model(loaded.architecture, loaded.weight_sources, world_size=ranks, rank=rank)
        found.append(sum(size * _numbers(source.parameter.shape) for source in part.sources))
    return found


def _numbers(shape: tuple[int, ...]) -> int:
    total = 1
    for one in shape:
        total *= one
    return total


def tokens_per_second(llm: LLM) -> float:
    """Return the best of three answers' decoding speed."""
    best = 0.0
    for _ in range(3):
        begun = time.perf_counter()
        answer = llm.complete("What do llamas eat?", max_new_tokens=TOKENS, top_k=1)
        best = max(best, len(answer.token_ids) / (time.perf_counter() - begun))
    return best


def main() -> None:
    """Measure, and write a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model", nargs="?", default="smollm2")
    arguments.add_argument("--precision", default="bf16-true")
    said = arguments.parse_args()
    print("| ranks | tokens/s | MB read for a token, by rank |\n| --- | --- | --- |")
    for ranks in RANKS:
        with LLM.load(said.model, distribute=None, quiet=True) as llm:
            try:
                llm.distribute(
                    accelerator="cpu",
                    devices=ranks,
                    generate_strategy="tensor_parallel",
                    precision=said.precision,
                )
            except UnsupportedOperation as error:
                print(f"| {ranks} | | {error} |")
                continue
            llm.generate("warm", max_new_tokens=8)
            read = ", ".join(f"{one / 1e6:.0f}" for one in bytes_per_rank(llm, ranks))
            print(f"| {ranks} | {tokens_per_second(llm):.1f} | {read} |")


if __name__ == "__main__":
    main()
