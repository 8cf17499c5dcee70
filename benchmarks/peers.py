"""The engine of torch beside transformers and LitGPT: load time, latency, speed and memory.

Each library runs in an environment of its own under `.bench/`, reads the same bf16 weights, and gets the
same prompts. Every measurement is a process of its own; the libraries take turns, round after round, so
that a machine that slows down slows all of them. Medians are reported, and ratios within a round.
"""

import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from checkpoints import PROMPTS, original, prepare_converted, prepare_folder
from environments import python_of
from peers_report import GGUF, LITGPT, THIS, TRANSFORMERS, Results
from processes import run_worker

WORKERS = {THIS: "litgpt", TRANSFORMERS: "transformers", LITGPT: "litgpt"}


def seconds_of(*command: str | Path) -> float:
    """Return how long a command takes, from start to end."""
    start = perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - start


def measure(rounds: int, threads: int) -> Results:
    """Let everybody take turns."""
    folder, converted, gguf = prepare_folder(), prepare_converted(), original()
    for file in (folder / "model.safetensors", converted / "lit_model.pth", gguf):
        file.read_bytes()  # so that the page cache is warm for all
    pythons: dict[str, Path | str] = {
        THIS: sys.executable,
        TRANSFORMERS: python_of(TRANSFORMERS),
        LITGPT: python_of(LITGPT),
    }
    models = {THIS: folder, TRANSFORMERS: folder, LITGPT: converted}
    command = Path(sys.executable).with_name("litgpt")
    results: Results = []
    for at in range(1, rounds + 1):
        print(f"Peers, round {at} of {rounds} …", file=sys.stderr)
        measured: dict[str, dict[str, Any]] = {}
        for name, python in pythons.items():
            measured[name] = run_worker(python, WORKERS[name], models[name], threads=threads)
        measured[GGUF] = run_worker(sys.executable, "litgpt", gguf, threads=threads)
        for name, python in pythons.items():
            prompts = ("--prompts", PROMPTS)
            measured[name] |= run_worker(python, WORKERS[name], models[name], *prompts, threads=threads)
        measured["start"] = {
            "import_torch_s": seconds_of(sys.executable, "-c", "import torch"),
            "help_s": seconds_of(command, "--help"),
        }
        results.append(measured)
    return results
