"""`litgpt check`: compare this library's engines with transformers on the weights of a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litgpt.cli import console, options
from litgpt.cli.model_loading import StatusLine
from litgpt.domain.formatting.units import format_bytes, format_count

if TYPE_CHECKING:
    from litgpt.llm import LLM
    from litgpt.llm_parts.comparison import Comparison, EngineFigures

TEXTS = (
    "The quick brown fox jumps over the lazy dog, and the dog does not mind.",
    "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n",
    "In 1905, Einstein published four papers; die Menge der natürlichen Zahlen ist unendlich. 你好 世界",
)


def check(  # noqa: PLR0913 - one per option
    model: options.Model = options.DEFAULT_MODEL,
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts to compare.  [default: three short ones]", show_default=False),
    ] = None,
    *,
    random: Annotated[
        bool, typer.Option("--random", help="Use random weights, made from the config alone.")
    ] = False,
    max_new_tokens: Annotated[int, typer.Option(help="Length of the greedy continuations.")] = 32,
    accelerator: options.Accelerator = "auto",
    revision: options.Revision = None,
    offline: options.Offline = False,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> int:
    """Compare with transformers: each layer, the logits, greedy texts, speed and memory, in float32.

    The exit status is 1 if a result differs. transformers must be installed.
    """
    from litgpt.domain.reference import ModelReference
    from litgpt.domain.validators import integer
    from litgpt.llm_parts.comparison import compare

    integer("max_new_tokens", max_new_tokens, 2)
    reference = ModelReference(model, revision, offline or None, access_token)
    compared = texts or list(TEXTS)
    with (
        StatusLine(f"Comparing {reference.name} …", quiet=quiet),
        _loaded(reference.name, random=random, revision=revision, offline=offline, token=access_token) as llm,
    ):
        result = compare(llm, compared, max_new_tokens=max_new_tokens, accelerator=accelerator)
    if as_json:
        console.show_json({"model": reference.name, "texts": compared, **_as_dict(result)})
    else:
        _show(reference.name, result, len(compared))
    return 0 if result.agrees else 1


@contextmanager
def _loaded(
    model: str, *, random: bool, revision: str | None, offline: bool, token: str | None
) -> "Iterator[LLM]":
    from litgpt.llm import LLM

    where: dict[str, Any] = {"revision": revision, "offline": offline or None, "access_token": token}
    if not random:
        with LLM.load(model, distribute=None, quiet=True, **where) as llm:
            yield llm
        return
    with TemporaryDirectory(prefix="litgpt-check-") as folder:
        with LLM.load(model, init="random", distribute=None, quiet=True, **where) as llm:
            llm.distribute(accelerator="cpu", precision="32-true", engine="torch")
            llm.save(folder)
        with LLM.load(folder, distribute=None, quiet=True) as llm:
            yield llm


def _show(name: str, result: "Comparison", num_texts: int) -> None:
    reference, *others = result.engines
    console.heading(name)
    console.show(f"  {format_count(num_texts, 'text')}, float32; differences relative to the largest value")
    console.show("")
    console.table([*_layer_rows(result), ("logits", f"{result.logits:.1e}")], indent=2)
    console.show("")
    head = ("ENGINE", "LOG-PROBABILITIES", "GREEDY TOKENS", "PREFILL", "DECODE", "PEAK MEMORY")
    rows = [_row(engine, reference) for engine in result.engines]
    console.table([head, *rows], indent=2)
    for engine, reason in result.omitted.items():
        console.show(f"  {engine}: {reason}")
    console.show("")
    differing = [engine.engine for engine in others if engine.logprob_difference(reference) > 0]
    console.show(
        "  The results agree." if result.agrees else f"  The results differ ({', '.join(differing)})."
    )


def _layer_rows(result: "Comparison") -> list[tuple[str, str]]:
    if not result.layers:
        return [("layers", "not comparable: transformers divides the network differently")]
    if (first := result.first_difference) is not None:
        return [(f"layer {first} is the first that differs", f"{result.layers[first]:.1e}")]
    worst = max(range(len(result.layers)), key=result.layers.__getitem__)
    return [
        (
            f"all {len(result.layers)} layers agree; the largest is of layer {worst}",
            f"{result.layers[worst]:.1e}",
        )
    ]


def _row(engine: "EngineFigures", reference: "EngineFigures") -> tuple[str, ...]:
    tokens = sum(map(len, reference.answers))
    is_reference = engine is reference
    return (
        engine.engine,
        "reference" if is_reference else f"differ by up to {engine.logprob_difference(reference):.1e}",
        f"{tokens}" if is_reference else f"{engine.equal_tokens(reference)} of {tokens} equal",
        f"{engine.prefill_speed:,.0f} tokens/s",
        f"{engine.decode_speed:,.1f} tokens/s",
        "unknown" if engine.peak_bytes is None else format_bytes(engine.peak_bytes),
    )


def _as_dict(result: "Comparison") -> dict[str, Any]:
    reference = result.engines[0]
    return {
        "agrees": result.agrees,
        "logits": result.logits,
        "layers": list(result.layers),
        "first_difference": result.first_difference,
        "omitted": result.omitted,
        "engines": [
            {
                "engine": engine.engine,
                "logprobs": engine.logprob_difference(reference),
                "equal_tokens": engine.equal_tokens(reference),
                "tokens": sum(map(len, engine.answers)),
                "prefill_speed": engine.prefill_speed,
                "decode_speed": engine.decode_speed,
                "peak_bytes": engine.peak_bytes,
            }
            for engine in result.engines
        ],
    }
