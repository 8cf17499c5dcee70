"""The native engine beside other libraries and the engine of torch, in each format.

Everybody reads the same weights: this library, llama.cpp and OpenVINO the same GGUF file, the others the
bf16 folder, which onnxruntime-genai and CTranslate2 quantize themselves. A peer that cannot be installed,
converted for or run is reported with the reason. Every measurement is a process of its own; all take turns,
round after round. The bandwidth of memory, which limits decoding, is measured in each round.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from checkpoints import PROMPTS, gguf_files, prepare_converted, prepare_folder, prepare_for
from environments import Unavailable, python_of
from machine import has_bf16_products
from processes import read_bandwidth, run_worker

Round = dict[str, dict[str, Any]]
"""What each contestant measured, by `engine format`, or why it is `unavailable`; and the `bandwidth`."""

NATIVE, LLAMA_CPP, TORCH, TRANSFORMERS, LITGPT = (
    "native",
    "llama.cpp",
    "torch engine",
    "transformers",
    "LitGPT",
)
ONNXRUNTIME, OPENVINO, CTRANSLATE2 = "onnxruntime-genai", "OpenVINO", "CTranslate2"
FORMATS = {
    "Q4_1": "4 bits (Q4_1, the installed file)",
    "Q4_0": "4 bits (Q4_0)",
    "Q8_0": "8 bits (Q8_0)",
    "BF16": "bf16",
    "F32": "float32",
}
"""What each format is called in the report."""

CONVERTING = {ONNXRUNTIME: ("Q4_0", "Q8_0", "F32"), OPENVINO: ("Q4_0", "Q8_0"), CTRANSLATE2: ("Q8_0",)}
"""The peers with formats of their own, and which formats those resemble."""

ANSWER, SLOW_ANSWER, BATCH_ANSWER = 64, 24, 16
"""The tokens that are decoded after the short prompt, also by the slow engines of torch, and after each of a
batch."""


@dataclass(frozen=True)
class Contestant:
    """An engine and the weights that it runs.

    Attributes:
        peer: Its environment and its worker. This library has the worker of LitGPT and the environment of
            this process.
        model: Prepares the model and returns it.
        arguments: Further arguments of its worker, which override the common ones.
    """

    engine: str
    format: str
    peer: str
    model: Callable[[], Path]
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of its measurements."""
        return f"{self.engine} {self.format}"

    @property
    def is_peer(self) -> bool:
        """Whether it is not this library."""
        return self.engine not in (NATIVE, TORCH)

    def run(self, *arguments: str | Path, threads: int) -> dict[str, Any]:
        """Return what its worker measures.

        Raises:
            Unavailable: It cannot be installed, converted for or run.
        """
        python, model = self.prepare()
        worker = self.peer.replace("-", "_")
        return run_worker(python, worker, model, *arguments, *self.arguments, threads=threads)

    def prepare(self) -> tuple[Path | str, Path]:
        """Return its Python and its model, having made them if necessary.

        Raises:
            Unavailable: It cannot be installed or converted for.
        """
        return python_of(self.peer) if self.is_peer else sys.executable, self.model()


def native(model: Path, file_format: str) -> Contestant:
    """Return the native engine with a GGUF file."""
    return Contestant(NATIVE, file_format, "litgpt", lambda: model, ("--engine", "native"))


def llama_cpp(model: Path, file_format: str) -> Contestant:
    """Return llama.cpp with a GGUF file."""
    return Contestant(LLAMA_CPP, file_format, "llama-cpp", lambda: model)


def converting(engine: str, model: Path, file_format: str) -> Contestant:
    """Return a peer that reads what its own converter makes of a model."""
    peer = engine.lower()
    return Contestant(engine, file_format, peer, partial(prepare_for, peer, model, file_format))


def contestants() -> list[Contestant]:
    """Return all of them, those of a format one after another where both read a GGUF file.

    transformers computes in float32 where the processor has no products of bfloat16 numbers, which would take
    it several times longer. llama.cpp has no advantage in float32, and is left out there.
    """
    files, folder = gguf_files(), prepare_folder()
    dtype, dtype_format = ("bfloat16", "BF16") if has_bf16_products() else ("float32", "F32")
    found = []
    for file_format in FORMATS:
        found.append(native(files[file_format], file_format))
        if file_format != "F32":
            found.append(llama_cpp(files[file_format], file_format))
        for peer, formats in CONVERTING.items():
            if file_format in formats:
                model = files[file_format] if peer == OPENVINO else folder
                found.append(converting(peer, model, file_format))
    fewer = ("--answer", str(SLOW_ANSWER))
    single = (*fewer, "--batch", "0")
    torch, in_dtype = ("--engine", "torch", *single), ("--dtype", dtype, *fewer)
    return [
        *found,
        Contestant(TORCH, "BF16", "litgpt", lambda: folder, torch),
        Contestant(TRANSFORMERS, dtype_format, "transformers", lambda: folder, in_dtype),
        Contestant(LITGPT, "BF16", "litgpt", prepare_converted, single),
    ]


def measure(rounds: int, threads: int) -> list[Round]:
    """Let everybody take turns."""
    entrants, unavailable = contestants(), {}
    for entrant in entrants:  # so that the page cache is warm for all
        _attempt(entrant, partial(_read, entrant), unavailable)
    options = ("--repeats", "1", "--answer", str(ANSWER), "--batch", str(BATCH_ANSWER))
    results = []
    for at in range(1, rounds + 1):
        print(f"Speed, round {at} of {rounds} …", file=sys.stderr)
        measured: Round = {"bandwidth": {"bytes_per_s": read_bandwidth(threads)}}
        for entrant in entrants:
            run = partial(entrant.run, "--prompts", PROMPTS, *options, threads=threads)
            measured[entrant.name] = _attempt(entrant, run, unavailable)
        results.append(measured)
    return results


def _attempt(
    entrant: Contestant, action: Callable[[], dict[str, Any]], unavailable: dict[str, str]
) -> dict[str, Any]:
    """Return the result of an action, or why a peer is unavailable, which is not tried again."""
    if entrant.name not in unavailable:
        try:
            return action()
        except Unavailable as reason:
            if not entrant.is_peer:
                raise
            unavailable[entrant.name] = str(reason)
    return {"unavailable": unavailable[entrant.name]}


def _read(entrant: Contestant) -> dict[str, Any]:
    _, model = entrant.prepare()
    for file in model.iterdir() if model.is_dir() else [model]:
        if file.is_file():
            file.read_bytes()
    return {}
