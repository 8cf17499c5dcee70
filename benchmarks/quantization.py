"""Memory, perplexity and speed of a model in each quantization mode, as rows of a table.

    python benchmarks/quantization.py [MODEL] [--text docs/training.md] [--rounds 3]

Perplexity is over a text, in windows of 512 tokens; speed is of greedy decoding at batch 1, and the time of a
prompt of 512 tokens; at the end the time of a step of fine-tuning in each precision. The ways take turns, and
the best of the rounds counts: a machine is often busy.
"""

import argparse
import datetime as dt
import math
import time
from pathlib import Path
from typing import TypeAlias, cast

import torch
from machine import describe
from torch import Tensor

from litgpt import LLM
from litgpt.domain.memory.estimate import weight_bytes
from litgpt.domain.quantization import QUANTIZATIONS, Quantization
from litgpt.domain.weights.tensor_info import DType

WINDOW = 512
TOKENS = 64


def perplexity(llm: LLM, ids: Tensor) -> float:
    """Return the perplexity of ids (T), each window of which is read on its own."""
    losses = []
    with torch.inference_mode():
        for window in ids[: len(ids) // WINDOW * WINDOW].view(-1, 1, WINDOW):
            _, loss = cast("tuple[Tensor, Tensor]", llm(window, window))
            losses.append(loss.item())
    return math.exp(sum(losses) / len(losses))


def speeds(llm: LLM, prompt: str) -> tuple[float, float]:
    """Return the tokens that are decoded in a second, and the seconds of a window's prompt."""
    start = time.perf_counter()
    llm.complete(prompt, max_new_tokens=1, temperature=0.0)
    first = time.perf_counter() - start
    start = time.perf_counter()
    done = llm.complete("Once upon a time", max_new_tokens=TOKENS + 1, temperature=0.0)
    return done.completion_tokens / (time.perf_counter() - start), first


def step(model: str, precision: DType, ids: Tensor) -> float:
    """Return the seconds of a step of full fine-tuning without the optimizer: two rows of 256 tokens."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, precision))
    try:
        llm = LLM.load(model, distribute=None, quiet=True)
        llm.trainer_setup()
    finally:
        torch.set_default_dtype(before)
    batch, seconds = ids[:512].view(2, 256), math.inf
    for _ in range(3):
        start = time.perf_counter()
        llm.loss(batch, batch).backward()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds


Way: TypeAlias = tuple[DType, Quantization | None]
WAYS: tuple[Way, ...] = (
    ("float32", None),
    ("bfloat16", None),
    ("float32", "int8"),
    ("float32", "int4"),
    *(("bfloat16", one) for one in QUANTIZATIONS),
)
PRECISIONS: dict[DType, str] = {"float32": "32-true", "bfloat16": "bf16-true"}


def main() -> None:
    """Measure each way, and print a row for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--text", type=Path, default=Path("docs/training.md"))
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    llm = LLM.load(said.model, distribute=None, quiet=True)
    ids = llm.tokenizer.encode(said.text.read_text(encoding="utf-8")).long()
    prompt = llm.tokenizer.decode(ids[: WINDOW - 40])
    found: dict[Way, tuple[float, float, float]] = {}
    arithmetic: dict[Way, str] = {}
    for _ in range(said.rounds):
        for way in WAYS:
            dtype, quantize = way
            llm.distribute(accelerator="cpu", precision=PRECISIONS[dtype], quantize=quantize)
            arithmetic[way] = llm.arithmetic.partition("; ")[2]
            score = found[way][0] if way in found else perplexity(llm, ids)
            speeds(llm, prompt)  # warms up
            fast, first = speeds(llm, prompt)
            before = found.get(way, (score, 0.0, math.inf))
            found[way] = (score, max(fast, before[1]), min(first, before[2]))
    print(f"{dt.datetime.now(tz=dt.UTC).date()}. {describe()}; torch {torch.__version__}.")
    print(
        f"{said.model}, {torch.get_num_threads()} thread(s), {len(ids) // WINDOW} windows of {said.text}.\n"
    )
    print(
        "| precision | quantize | weights, MB | perplexity | decode, tokens/s | 512 tokens, ms | arithmetic |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    for (dtype, quantize), (score, fast, first) in found.items():
        weights = weight_bytes(llm.config.architecture, dtype=dtype, quantize=quantize) / 1e6
        print(
            f"| {dtype} | {quantize or 'none'} | {weights:.1f} | {score:.2f} | {fast:.1f} "
            f"| {first * 1000:.0f} | {arithmetic[dtype, quantize]} |",
            flush=True,
        )
    for dtype in PRECISIONS:
        print(f"\nA step of fine-tuning in {dtype}: {step(said.model, dtype, ids):.2f} s.", flush=True)


if __name__ == "__main__":
    main()
