"""`litgpt info`: what a model is and what it will need, before anything is loaded or downloaded."""

from typing import TYPE_CHECKING, Any

from litgpt.cli import console, options
from litgpt.cli.loading import Work
from litgpt.domain.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from litgpt.application.describing import Description
    from litgpt.domain.architecture import Architecture
    from litgpt.domain.footprint import Footprint, Verdict
    from litgpt.domain.quantization import Quantization
    from litgpt.domain.sampling import Sampling
    from litgpt.domain.tensors import DType

SHOWN: "dict[str, tuple[DType, Quantization | None]]" = {
    "bfloat16": ("bfloat16", None),
    "float32": ("float32", None),
    "int8": ("bfloat16", "int8"),
    "int4": ("bfloat16", "int4"),
    "bnb.nf4": ("bfloat16", "bnb.nf4"),
}
"""What weights may be in, by the name it is told by. What is quantised computes in bfloat16 here."""

SHORT = 1000
"""The length of a text, in tokens, for which the cache's size is told beside that for the whole context."""


def info(
    model: options.Model = options.DEFAULT_MODEL,
    *,
    devices: options.DevicesToTell = 1,
    revision: options.Revision = None,
    offline: options.Offline = False,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Show a model's architecture and memory needs."""
    from litgpt.adapters.pytorch.memory import memories
    from litgpt.application.describing import DescribeModel
    from litgpt.cli import several
    from litgpt.container import container
    from litgpt.domain.arithmetic import told
    from litgpt.domain.footprint import footprint, judge
    from litgpt.domain.reference import ModelReference

    reference = ModelReference(model, revision, offline or None, access_token)
    with Work(f"Looking at {reference} …", quiet=quiet):
        found = DescribeModel(container.store())(reference)
        here = memories()
    architecture = found.architecture
    needs = {
        name: {
            tokens: footprint(architecture, dtype=dtype, tokens=tokens, quantize=quantize)
            for tokens in sorted({min(SHORT, architecture.context), architecture.context})
        }
        for name, (dtype, quantize) in SHOWN.items()
    }
    verdicts = [
        judge(architecture, memory, dtype=dtype, quantize=quantize)
        for memory in here
        for dtype, quantize in SHOWN.values()
    ]
    over = several.spreads(architecture, devices)
    products = {
        name: told(quantize or dtype, dtype, container.cpu_features())
        for name, (dtype, quantize) in SHOWN.items()
    }
    if as_json:
        more = {"devices": several.as_dict(over), "arithmetic": products}
        console.show_json(_as_dict(found, needs, verdicts) | more)
        return
    console.heading(found.name)
    console.show(f"  {found.origin}")
    for note in found.notes:
        console.show(f"  {note}")
    _section("Structure", _structure(architecture, found.parameters))
    _section("Sampling, where it is not given", _sampling(found.sampling))
    _section("Stored as", _stored(found))
    _section("Needs", _needs(needs), numbers=True)
    _section("Arithmetic on this machine's CPU", list(products.items()))
    if over:
        several.show(over, devices)
    for memory in here:
        has = f"{size(memory.total)}, of which {size(memory.free)} are free"
        those = [one for one in verdicts if one.memory is memory]
        rows = [(named(one), advice(one, needs[named(one)])) for one in those]
        _section(f"In this machine's {memory.device} ({has})", rows)


def named(verdict: "Verdict") -> str:
    """Return the name in `SHOWN` of what a verdict is about."""
    return verdict.quantize or verdict.dtype


def advice(verdict: "Verdict", needs: "dict[int, Footprint]") -> str:
    """Return whether a model runs in a memory, and what to do if not.

    Args:
        verdict: The answer.
        needs: What texts of some lengths need; the last is the whole context.

    """
    context, whole = list(needs.items())[-1]
    now, at_most = verdict.tokens_now, verdict.tokens_at_most
    if now == context:
        return "fits, with the whole context"
    if at_most == context:
        missing = size(whole.total - verdict.memory.free)
        if now:
            return f"fits with texts of up to {now:,} tokens; with all, if other programs free {missing}"
        return f"does not fit now; it would, if other programs freed {missing}"
    if now:
        return f"fits with texts of up to {now:,} tokens of {context:,}; bound them by --max-new-tokens"
    if at_most:
        return f"does not fit now; alone in it, texts of up to {at_most:,} tokens would"
    smallest = f", but perhaps in {'bfloat16' if verdict.dtype == 'float32' else 'int4'}"
    smallest = smallest if verdict.quantize is None else ""
    return f"does not fit{smallest}: the weights alone take {size(whole.weights)}"


def _section(title: str, rows: "Sequence[tuple[str, ...]]", *, numbers: bool = False) -> None:
    console.show("")
    console.heading(title)
    console.table(rows, indent=2, numbers=numbers)


def _structure(architecture: "Architecture", parameters: int) -> list[tuple[str, ...]]:
    from litgpt.domain.footprint import active_parameter_count

    active = active_parameter_count(architecture)
    used = f", of which a token uses {_count(active)}" if active < parameters else ""
    tied = " (the head is the embedding)" if architecture.tied else ""
    return [
        ("family", architecture.family),
        ("parameters", f"{_count(parameters)}{used}"),
        ("layers", f"{len(architecture.layers)}"),
        ("width", f"{architecture.width:,}"),
        *_mixers(architecture),
        *_feed_forwards(architecture),
        ("vocabulary", f"{architecture.vocab_size:,}{tied}"),
        ("context", f"{architecture.context:,} tokens"),
    ]


def _sampling(sampling: "Sampling") -> list[tuple[str, ...]]:
    if sampling.greedy:
        return [("greedy", "the likeliest token")]
    top_k = "no bound" if sampling.top_k is None else f"{sampling.top_k}"
    return [("temperature", f"{sampling.temperature}"), ("top_k", top_k), ("top_p", f"{sampling.top_p}")]


def _mixers(architecture: "Architecture") -> "Iterator[tuple[str, str]]":
    from litgpt.domain.architecture import Attention, LatentAttention

    mixers = [layer.mixer for layer in architecture.layers]
    first = next((one for one in mixers if isinstance(one, Attention)), None)
    if first is not None:
        yield "heads", f"{first.heads}, of size {first.head_size}"
        yield "key-value heads", f"{first.groups}"
    latent = next((one for one in mixers if isinstance(one, LatentAttention)), None)
    if latent is not None:
        yield "heads", f"{latent.heads}, of size {latent.head_size}"
        yield "kept of a token", f"{latent.kept.key:,} numbers, from which its keys and values are made"
    windows = [one.window for one in mixers if one.window is not None]
    if windows:
        yield "windows", f"{len(windows)} of {len(mixers)} layers see the last {max(windows):,} tokens"


def _feed_forwards(architecture: "Architecture") -> "Iterator[tuple[str, str]]":
    from litgpt.domain.architecture import Experts

    all_of_them = [layer.feed_forward for layer in architecture.layers]
    dense = next((one for one in all_of_them if not isinstance(one, Experts)), None)
    if dense is not None:
        yield "feed-forward", f"{dense.size:,}"
    sparse = [one for one in all_of_them if isinstance(one, Experts)]
    if sparse:
        first = sparse[0]
        yield "experts", f"{first.count} of size {first.size:,}, of which a token goes to {first.chosen}"
        if first.shared is not None:
            yield "for all tokens", f"one more, of size {first.shared.size:,}"
        if len(sparse) < len(all_of_them):
            yield "layers with experts", f"{len(sparse)}"


def _count(weights: int) -> str:
    return f"{weights / 1e9:,.2f} billion" if weights >= 10**9 else f"{weights / 1e6:,.1f} million"


def _stored(found: "Description") -> list[tuple[str, ...]]:
    rows = [
        (one.format, size(one.nbytes), f"{one.tensors:,} tensor{'s' if one.tensors != 1 else ''}")
        for one in found.stored
    ]
    bits = 8 * found.nbytes / max(1, sum(one.weights for one in found.stored))
    return [*rows, ("in all", size(found.nbytes), f"{bits:.1f} bits a weight")]


def _needs(needs: "dict[str, dict[int, Footprint]]") -> list[tuple[str, ...]]:
    whole = [list(lengths.values())[-1] for lengths in needs.values()]
    lengths = next(iter(needs.values()))
    return [
        ("", *needs),
        ("weights", *(size(one.weights) for one in whole)),
        *(
            (f"KV cache of {tokens:,} tokens", *(size(one[tokens].cache) for one in needs.values()))
            for tokens in lengths
        ),
        ("activations, about", *(size(one.activations) for one in whole)),
        ("Python and torch, about", *(size(one.program) for one in whole)),
        ("in all, with the whole context", *(size(one.total) for one in whole)),
    ]


def _as_dict(
    found: "Description", needs: "dict[str, dict[int, Footprint]]", verdicts: "list[Verdict]"
) -> dict[str, Any]:
    import attrs

    return {
        "name": found.name,
        "origin": found.origin,
        "notes": list(found.notes),
        "parameters": found.parameters,
        "sampling": {
            "temperature": found.sampling.temperature,
            "top_k": found.sampling.top_k,
            "top_p": found.sampling.top_p,
        },
        "nbytes": found.nbytes,
        "stored": [attrs.asdict(one) for one in found.stored],
        "architecture": attrs.asdict(found.architecture),
        "needs": {
            dtype: [
                {"tokens": tokens, **attrs.asdict(one), "total": one.total} for tokens, one in lengths.items()
            ]
            for dtype, lengths in needs.items()
        },
        "fits": [attrs.asdict(one) for one in verdicts],
    }
