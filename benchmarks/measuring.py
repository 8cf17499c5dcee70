"""Measure one library in one process. Only the standard library: this runs in every peer's environment.

A worker says how its library is imported, loads and generates; `measure` does the same with each of them,
in the same order, and prints one line of JSON.
"""

import gc
import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")
OnToken = Callable[[int], None]

SHORT, LONG = "10", "512"
ANSWER = 128
"""How many tokens to decode after the short prompt."""


def peak_bytes() -> int:
    """Return the most memory that this process has had resident, file-backed pages included."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(
            line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")
        )
        return int(line.split()[1]) * 1024
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def timed(action: Callable[[], ResultT]) -> tuple[float, ResultT]:
    """Return how many seconds an action took, and its result."""
    start = perf_counter()
    result = action()
    return perf_counter() - start, result


def measure(
    package: str,
    *,
    import_library: Callable[[], object],
    load: Callable[[str], Any],
    generate: Callable[[Any, str, int, OnToken], object],
) -> None:
    """Import, load, generate and print what it took.

    Args:
        package: The distribution's name, for its version.
        import_library: Imports the library; torch has been imported before.
        load: Loads a model and its tokenizer from a path, ready to generate in bf16 on the CPU.
        generate: Takes what was loaded, a prompt and a number of tokens; generates greedily and calls
            back with each token id as soon as it is known.
    """
    parser = ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prompts", help="prompts.json; without it the model is only loaded, twice")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

    found: dict[str, Any] = {"package": package, "version": version(package)}
    import_torch_s, torch = timed(lambda: __import__("torch"))
    torch.set_num_threads(arguments.threads)
    found["torch"] = torch.__version__
    found["torch_bytes"] = peak_bytes()
    import_library_s, _ = timed(import_library)
    found["import_s"] = import_torch_s + import_library_s
    found["imported_bytes"] = peak_bytes()
    found["first_load_s"], model = timed(lambda: load(arguments.model))
    found["loaded_bytes"] = peak_bytes()
    if arguments.prompts:
        prompts = json.loads(Path(arguments.prompts).read_text(encoding="utf-8"))
        found |= _speed(lambda *request: generate(model, *request), prompts, arguments.repeats)
        found["peak_bytes"] = peak_bytes()
    else:  # again, now that everything that loading imports has been imported
        del model
        gc.collect()
        found["load_s"], _ = timed(lambda: load(arguments.model))
    print(json.dumps(found))


def _speed(
    generate: Callable[[str, int, OnToken], object], prompts: dict[str, str], repeats: int
) -> dict[str, Any]:
    # The best of some repeats is what the library can do; the others say what else the machine was doing.
    cold, _, _ = _generate(generate, prompts[SHORT], 8)
    short = [_generate(generate, prompts[SHORT], ANSWER) for _ in range(repeats)]
    long = [_generate(generate, prompts[LONG], 8) for _ in range(repeats)]
    first_of_long = min(first for first, _, _ in long)
    return {
        "cold_first_token_s": cold,
        "first_token_10_s": min(first for first, _, _ in short),
        "first_token_512_s": first_of_long,
        "prefill_tokens_per_s": int(LONG) / first_of_long,
        "decode_tokens_per_s": max(speed for _, speed, _ in short),
        "answer": short[0][2],
        "answer_to_512": long[0][2],
    }


def _generate(
    generate: Callable[[str, int, OnToken], object], prompt: str, at_most: int
) -> tuple[float, float, list[int]]:
    """Return the seconds to the first token, the tokens per second after it, and the tokens."""
    tokens: list[int] = []
    times: list[float] = []

    def on_token(token: int) -> None:
        times.append(perf_counter())
        tokens.append(token)

    start = perf_counter()
    generate(prompt, at_most, on_token)
    if len(tokens) != at_most:
        message = f"{len(tokens)} tokens came instead of {at_most}"
        raise SystemExit(message)
    return times[0] - start, (len(times) - 1) / (times[-1] - times[0]), tokens
