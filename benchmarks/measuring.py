"""Measure one library in one process. Only the standard library: this runs in every peer's environment.

A worker describes its library; `measure` does the same with each of them, in the same order, and prints one
line of JSON.
"""

import gc
import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")
OnToken = Callable[[int], None]

SHORT, LONG = "10", "512"
"""The lengths of the prompts, in tokens."""

WARM_UP = 8


def nothing(_: Any) -> Any:
    """Return an empty dictionary."""
    return {}


@dataclass(frozen=True)
class Library:
    """How a library is imported, loads and generates.

    Attributes:
        package: The distribution's name, for its version.
        import_library: Imports the library.
        load: Loads a model and its tokenizer for the CPU, as the command line says.
        generate: Takes what was loaded, a prompt and a number of tokens; generates greedily and calls back
            with each token id as soon as it is known.
        generate_batch: Takes what was loaded, prompts and a number of tokens; generates greedily for all
            prompts at once and returns how many tokens it generated in all.
        clear_cache: Forgets the keys and values of earlier prompts.
        describe: Returns further properties of the loaded model.
        convert: Takes a model, an empty folder and one of the formats of `speed.FORMATS`; writes the model
            into the folder as the library reads it, in a format of its own that resembles this one.
        uses_torch: Whether torch is imported before the library, to measure it by itself.
    """

    package: str
    import_library: Callable[[], object]
    load: Callable[[Namespace], Any]
    generate: Callable[[Any, str, int, OnToken], object]
    generate_batch: Callable[[Any, list[str], int], int] | None = None
    clear_cache: Callable[[Any], object] = nothing
    describe: Callable[[Any], dict[str, Any]] = nothing
    convert: Callable[[Path, Path, str], object] | None = None
    uses_torch: bool = True


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


def parse_arguments() -> Namespace:
    """Return the command line of a worker."""
    parser = ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--convert-to", type=Path, help="only convert the model, into this folder")
    parser.add_argument("--format", help="of the converted weights")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engine", choices=("native", "torch"), help="of this library; without it: default")
    parser.add_argument("--dtype", default="bfloat16", help="of transformers")
    parser.add_argument("--context", type=int, default=2048, help="the size of llama.cpp's cache")
    parser.add_argument("--prompts", help="prompts.json; without it the model is only loaded, twice")
    parser.add_argument("--repeats", type=int, default=3, help="generations, the best of which counts")
    parser.add_argument("--answer", type=int, default=128, help="tokens to decode after the short prompt")
    parser.add_argument("--batch", type=int, default=0, help="tokens to decode for many prompts at once")
    parser.add_argument("--lengths", nargs="*", default=[], help="measure decoding after prompts so long")
    parser.add_argument("--busy", type=int, default=0, help="measure decoding beside so many processes")
    return parser.parse_args()


def measure(library: Library) -> None:
    """Import, load, generate and print what it took, or convert the model."""
    arguments = parse_arguments()
    if arguments.convert_to and library.convert is not None:
        library.convert(Path(arguments.model), arguments.convert_to, arguments.format)
        return
    found: dict[str, Any] = {"package": library.package, "version": version(library.package)}
    import_torch_s = _import_torch(arguments.threads, found) if library.uses_torch else 0.0
    found["torch_bytes"] = peak_bytes()
    import_library_s, _ = timed(library.import_library)
    found["import_s"] = import_torch_s + import_library_s
    found["imported_bytes"] = peak_bytes()
    found["first_load_s"], model = timed(lambda: library.load(arguments))
    found["loaded_bytes"] = peak_bytes()
    found |= library.describe(model)
    if arguments.prompts:
        prompts = json.loads(Path(arguments.prompts).read_text(encoding="utf-8"))
        found |= _with_prompts(library, model, prompts, arguments)
    else:  # again, now that everything that loading imports has been imported
        del model
        gc.collect()
        found["load_s"], _ = timed(lambda: library.load(arguments))
    print(json.dumps(found))


def _import_torch(threads: int, found: dict[str, Any]) -> float:
    seconds, torch = timed(lambda: __import__("torch"))
    torch.set_num_threads(threads)
    found["torch"] = torch.__version__
    return seconds


def _with_prompts(
    library: Library, model: Any, prompts: dict[str, Any], arguments: Namespace
) -> dict[str, Any]:
    if arguments.lengths:
        return _by_length(library, model, prompts, arguments)
    if arguments.busy:
        return _busy(library, model, prompts, arguments)
    found = _speed(library, model, prompts, arguments)
    found["peak_bytes"] = peak_bytes()
    if arguments.batch and library.generate_batch is not None:
        seconds, tokens = timed(lambda: library.generate_batch(model, prompts["batch"], arguments.batch))
        found["batch_tokens_per_s"] = tokens / seconds
    return found


def _speed(library: Library, model: Any, prompts: dict[str, str], arguments: Namespace) -> dict[str, Any]:
    # The best of some repeats is what the library can do; the others say what else the machine was doing.
    cold, _, _ = _generate(library, model, prompts[SHORT], WARM_UP)
    repeats = range(arguments.repeats)
    short = [_generate(library, model, prompts[SHORT], arguments.answer) for _ in repeats]
    long = [_generate(library, model, prompts[LONG], WARM_UP) for _ in repeats]
    first_of_long = min(first for first, _, _ in long)
    return {
        "cold_first_token_s": cold,
        "first_token_10_s": min(first for first, _, _ in short),
        "first_token_512_s": first_of_long,
        "prefill_tokens_per_s": int(LONG) / first_of_long,
        "decode_tokens_per_s": max(_per_second(gaps) for _, gaps, _ in short),
        "answer": short[0][2],
        "answer_to_512": long[0][2],
    }


def _by_length(library: Library, model: Any, prompts: dict[str, str], arguments: Namespace) -> dict[str, Any]:
    """Measure the median seconds between tokens after each prompt, which continues the one before it."""
    _generate(library, model, prompts[SHORT], WARM_UP)
    seconds = {}
    for length in arguments.lengths:
        _, gaps, _ = _generate(library, model, prompts[length], arguments.answer, keep_cache=True)
        seconds[length] = median(gaps)
    return {"token_s": seconds}


def _busy(library: Library, model: Any, prompts: dict[str, str], arguments: Namespace) -> dict[str, Any]:
    """Measure decoding alone, and beside processes that never wait."""
    _generate(library, model, prompts[SHORT], WARM_UP)
    _, idle, _ = _generate(library, model, prompts[SHORT], arguments.answer)
    with _busy_processes(arguments.busy):
        _, busy, _ = _generate(library, model, prompts[SHORT], arguments.answer)
    return {
        "idle_tokens_per_s": _per_second(idle),
        "busy_tokens_per_s": _per_second(busy),
        "busy_slowest_s": max(busy),
    }


@contextmanager
def _busy_processes(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        sleep(0.5)  # until they have started
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _per_second(gaps: list[float]) -> float:
    return len(gaps) / sum(gaps)


def _generate(
    library: Library, model: Any, prompt: str, at_most: int, *, keep_cache: bool = False
) -> tuple[float, list[float], list[int]]:
    """Return the seconds to the first token, those between the tokens after it, and the tokens."""
    tokens: list[int] = []
    times: list[float] = []

    def on_token(token: int) -> None:
        times.append(perf_counter())
        tokens.append(token)

    if not keep_cache:
        library.clear_cache(model)
    start = perf_counter()
    library.generate(model, prompt, at_most, on_token)
    if len(tokens) != at_most:
        message = f"{len(tokens)} tokens came instead of {at_most}"
        raise SystemExit(message)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return times[0] - start, gaps, tokens
