"""The native engine beside llama.cpp, transformers, LitGPT and the engine of torch, in each format.

Everybody reads the same weights: llama.cpp and this library the same GGUF file, the others the bf16 folder.
Every measurement is a process of its own; all take turns, round after round. The bandwidth of memory, which
limits decoding, is measured in each round.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoints import PROMPTS, gguf_files, prepare_converted, prepare_folder
from environments import python_of
from machine import has_bf16_products
from processes import read_bandwidth, run_worker

Round = dict[str, dict[str, Any]]
"""What each contestant measured, by `engine format`, and the `bandwidth`."""

NATIVE, LLAMA_CPP, TORCH, TRANSFORMERS, LITGPT = (
    "native",
    "llama.cpp",
    "torch engine",
    "transformers",
    "LitGPT",
)
FORMATS = {
    "Q4_1": "4 bits (Q4_1, the installed file)",
    "Q4_0": "4 bits (Q4_0)",
    "Q8_0": "8 bits (Q8_0)",
    "BF16": "bf16",
    "F32": "float32",
}
"""What each format is called in the report."""

ANSWER, SLOW_ANSWER, BATCH_ANSWER = 64, 24, 16
"""The tokens that are decoded after the short prompt, also by the slow engines of torch, and after each of a
batch."""


@dataclass(frozen=True)
class Contestant:
    """An engine and the weights that it runs.

    Attributes:
        arguments: Further arguments of its worker, which override the common ones.
    """

    engine: str
    format: str
    python: Path | str
    worker: str
    model: Path
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of its measurements."""
        return f"{self.engine} {self.format}"

    def run(self, *arguments: str | Path, threads: int) -> dict[str, Any]:
        """Return what its worker measures."""
        return run_worker(self.python, self.worker, self.model, *arguments, *self.arguments, threads=threads)


def native(model: Path, file_format: str) -> Contestant:
    """Return the native engine with a GGUF file."""
    return Contestant(NATIVE, file_format, sys.executable, "litgpt", model, ("--engine", "native"))


def llama_cpp(model: Path, file_format: str) -> Contestant:
    """Return llama.cpp with a GGUF file."""
    return Contestant(LLAMA_CPP, file_format, python_of("llama-cpp"), "llama_cpp", model)


def contestants() -> list[Contestant]:
    """Return all of them, those of a format one after another.

    transformers computes in float32 where the processor has no products of bfloat16 numbers, which would take
    it several times longer. llama.cpp has no advantage in float32, and is left out there.
    """
    files, folder, converted = gguf_files(), prepare_folder(), prepare_converted()
    dtype, dtype_format = ("bfloat16", "BF16") if has_bf16_products() else ("float32", "F32")
    found = []
    for file_format in FORMATS:
        found.append(native(files[file_format], file_format))
        if file_format != "F32":
            found.append(llama_cpp(files[file_format], file_format))
    fewer = ("--answer", str(SLOW_ANSWER))
    single = (*fewer, "--batch", "0")
    engine, peer = ("--engine", "torch", *single), ("--dtype", dtype, *fewer)
    return [
        *found,
        Contestant(TORCH, "BF16", sys.executable, "litgpt", folder, engine),
        Contestant(TRANSFORMERS, dtype_format, python_of("transformers"), "transformers", folder, peer),
        Contestant(LITGPT, "BF16", python_of("litgpt"), "litgpt", converted, single),
    ]


def measure(rounds: int, threads: int) -> list[Round]:
    """Let everybody take turns."""
    entrants = contestants()
    for entrant in entrants:
        _read(entrant.model)  # so that the page cache is warm for all
    options = ("--repeats", "1", "--answer", str(ANSWER), "--batch", str(BATCH_ANSWER))
    results = []
    for at in range(1, rounds + 1):
        print(f"Speed, round {at} of {rounds} …", file=sys.stderr)
        measured: Round = {"bandwidth": {"bytes_per_s": read_bandwidth(threads)}}
        for entrant in entrants:
            measured[entrant.name] = entrant.run("--prompts", PROMPTS, *options, threads=threads)
        results.append(measured)
    return results


def _read(model: Path) -> None:
    for file in model.iterdir() if model.is_dir() else [model]:
        if file.is_file():
            file.read_bytes()
