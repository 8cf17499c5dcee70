"""`litgpt info`: show the architecture and memory needs of a model, without loading the weights."""

from typing import TYPE_CHECKING, Any

from litgpt.cli import console, options
from litgpt.cli.model_loading import StatusLine
from litgpt.domain.formatting.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from litgpt.application.describe_model import ModelDescription
    from litgpt.domain.generation.sampling_params import SamplingParams
    from litgpt.domain.memory.estimate import FitReport, MemoryEstimate
    from litgpt.domain.model import Architecture
    from litgpt.domain.quantization import Quantization
    from litgpt.domain.weights.tensor_info import DType

DTYPES_SHOWN: "dict[str, tuple[DType, Quantization | None]]" = {
    "bfloat16": ("bfloat16", None),
    "float32": ("float32", None),
    "int8": ("bfloat16", "int8"),
    "int4": ("bfloat16", "int4"),
    "bnb.nf4": ("bfloat16", "bnb.nf4"),
}
"""Compute dtype and quantization of each column of the memory table, by label."""

SHORT_CONTEXT = 1000
"""A shorter context, in tokens, for a second row of KV cache sizes."""


def info(
    model: options.Model = options.DEFAULT_MODEL,
    *,
    devices: options.InfoDevices = 1,
    revision: options.Revision = None,
    offline: options.Offline = False,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
) -> None:
    """Show a model's architecture and memory needs."""
    from litgpt.adapters.pytorch.runtime.system_memory import device_memory
    from litgpt.application.describe_model import DescribeModel
    from litgpt.cli import info_devices
    from litgpt.container import container
    from litgpt.domain.distribution.cpu_matmul import describe_matmul
    from litgpt.domain.memory.estimate import check_fit, estimate_memory
    from litgpt.domain.reference import ModelReference

    reference = ModelReference(model, revision, offline or None, access_token)
    with StatusLine(f"Looking at {reference} …", quiet=quiet):
        found = DescribeModel(container.store())(reference)
        here = device_memory()
    architecture = found.architecture
    needs = {
        name: {
            tokens: estimate_memory(architecture, dtype=dtype, tokens=tokens, quantize=quantize)
            for tokens in sorted(
                {min(SHORT_CONTEXT, architecture.context_length), architecture.context_length}
            )
        }
        for name, (dtype, quantize) in DTYPES_SHOWN.items()
    }
    verdicts = [
        check_fit(architecture, memory, dtype=dtype, quantize=quantize)
        for memory in here
        for dtype, quantize in DTYPES_SHOWN.values()
    ]
    over = info_devices.device_reports(architecture, devices)
    products = {
        name: describe_matmul(quantize or dtype, dtype, container.cpu_features())
        for name, (dtype, quantize) in DTYPES_SHOWN.items()
    }
    if as_json:
        more = {"devices": info_devices.as_dict(over), "arithmetic": products}
        console.show_json(_as_dict(found, needs, verdicts) | more)
        return
    console.heading(found.name)
    console.show(f"  {found.origin}")
    for note in found.notes:
        console.show(f"  {note}")
    _section("Structure", _structure(architecture, found.num_parameters))
    _section("Sampling, where it is not given", _sampling(found.sampling_params))
    _section("Stored as", _storage_rows(found))
    _section("Needs", _memory_rows(needs), numbers=True)
    _section("Arithmetic on this machine's CPU", list(products.items()))
    if over:
        info_devices.show(over, devices)
    for memory in here:
        has = f"{format_bytes(memory.total)}, of which {format_bytes(memory.free)} are free"
        those = [one for one in verdicts if one.memory is memory]
        rows = [(format_name(one), advice(one, needs[format_name(one)])) for one in those]
        _section(f"In this machine's {memory.device} ({has})", rows)


def format_name(report: "FitReport") -> str:
    """Return the label of a report in `DTYPES_SHOWN`."""
    return report.quantize or report.dtype


def advice(report: "FitReport", estimates: "dict[int, MemoryEstimate]") -> str:
    """Describe whether a model fits into a device's memory, with a remedy if it does not.

    The last of the estimates, by number of tokens, is the full context.
    """
    context, whole = list(estimates.items())[-1]
    now, at_most = report.max_tokens_free, report.max_tokens_total
    if now == context:
        return "fits, with the whole context"
    if at_most == context:
        missing = format_bytes(whole.total - report.memory.free)
        if now:
            return f"fits with texts of up to {now:,} tokens; with all, if other programs free {missing}"
        return f"does not fit now; it would, if other programs freed {missing}"
    if now:
        return f"fits with texts of up to {now:,} tokens of {context:,}; bound them by --max-new-tokens"
    if at_most:
        return f"does not fit now; alone in it, texts of up to {at_most:,} tokens would"
    smallest = f", but perhaps in {'bfloat16' if report.dtype == 'float32' else 'int4'}"
    smallest = smallest if report.quantize is None else ""
    return f"does not fit{smallest}: the weights alone take {format_bytes(whole.weights)}"


def _section(title: str, rows: "Sequence[tuple[str, ...]]", *, numbers: bool = False) -> None:
    console.show("")
    console.heading(title)
    console.table(rows, indent=2, numbers=numbers)


def _structure(architecture: "Architecture", parameters: int) -> list[tuple[str, ...]]:
    from litgpt.domain.memory.estimate import active_parameter_count

    active = active_parameter_count(architecture)
    used = f", of which a token uses {_count(active)}" if active < parameters else ""
    tied = " (the head is the embedding)" if architecture.tie_word_embeddings else ""
    return [
        ("family", architecture.family),
        ("parameters", f"{_count(parameters)}{used}"),
        ("layers", f"{len(architecture.layers)}"),
        ("width", f"{architecture.hidden_size:,}"),
        *_mixers(architecture),
        *_mlps(architecture),
        ("vocabulary", f"{architecture.vocab_size:,}{tied}"),
        ("context", f"{architecture.context_length:,} tokens"),
    ]


def _sampling(sampling: "SamplingParams") -> list[tuple[str, ...]]:
    if sampling.greedy:
        return [("greedy", "the likeliest token")]
    top_k = "no bound" if sampling.top_k is None else f"{sampling.top_k}"
    return [("temperature", f"{sampling.temperature}"), ("top_k", top_k), ("top_p", f"{sampling.top_p}")]


def _mixers(architecture: "Architecture") -> "Iterator[tuple[str, str]]":
    from litgpt.domain.model import AttentionSpec, MLASpec

    mixers = [layer.mixer for layer in architecture.layers]
    first = next((one for one in mixers if isinstance(one, AttentionSpec)), None)
    if first is not None:
        yield "heads", f"{first.num_heads}, of size {first.head_dim}"
        yield "key-value heads", f"{first.num_kv_heads}"
    latent = next((one for one in mixers if isinstance(one, MLASpec)), None)
    if latent is not None:
        yield "heads", f"{latent.num_heads}, of size {latent.head_dim}"
        yield (
            "kept of a token",
            f"{latent.cache_spec.k_head_dim:,} numbers, from which its keys and values are made",
        )
    windows = [one.sliding_window for one in mixers if one.sliding_window is not None]
    if windows:
        yield "windows", f"{len(windows)} of {len(mixers)} layers see the last {max(windows):,} tokens"


def _mlps(architecture: "Architecture") -> "Iterator[tuple[str, str]]":
    from litgpt.domain.model import MoESpec

    all_of_them = [layer.mlp for layer in architecture.layers]
    dense = next((one for one in all_of_them if not isinstance(one, MoESpec)), None)
    if dense is not None:
        yield "feed-forward", f"{dense.intermediate_size:,}"
    sparse = [one for one in all_of_them if isinstance(one, MoESpec)]
    if sparse:
        first = sparse[0]
        yield (
            "experts",
            f"{first.num_experts} of size {first.intermediate_size:,}, top {first.num_experts_per_token}",
        )
        if first.shared_expert is not None:
            yield "for all tokens", f"one more, of size {first.shared_expert.intermediate_size:,}"
        if len(sparse) < len(all_of_them):
            yield "layers with experts", f"{len(sparse)}"


def _count(weights: int) -> str:
    return f"{weights / 1e9:,.2f} billion" if weights >= 10**9 else f"{weights / 1e6:,.1f} million"


def _storage_rows(description: "ModelDescription") -> list[tuple[str, ...]]:
    rows = [
        (
            one.format,
            format_bytes(one.nbytes),
            f"{one.num_tensors:,} tensor{'s' if one.num_tensors != 1 else ''}",
        )
        for one in description.storage
    ]
    bits = 8 * description.nbytes / max(1, sum(one.num_parameters for one in description.storage))
    return [*rows, ("in all", format_bytes(description.nbytes), f"{bits:.1f} bits a weight")]


def _memory_rows(estimates: "dict[str, dict[int, MemoryEstimate]]") -> list[tuple[str, ...]]:
    whole = [list(lengths.values())[-1] for lengths in estimates.values()]
    lengths = next(iter(estimates.values()))
    return [
        ("", *estimates),
        ("weights", *(format_bytes(one.weights) for one in whole)),
        *(
            (
                f"KV cache of {tokens:,} tokens",
                *(format_bytes(one[tokens].kv_cache) for one in estimates.values()),
            )
            for tokens in lengths
        ),
        ("activations, about", *(format_bytes(one.activations) for one in whole)),
        ("Python and torch, about", *(format_bytes(one.runtime) for one in whole)),
        ("in all, with the whole context", *(format_bytes(one.total) for one in whole)),
    ]


def _as_dict(
    description: "ModelDescription",
    estimates: "dict[str, dict[int, MemoryEstimate]]",
    reports: "list[FitReport]",
) -> dict[str, Any]:
    import attrs

    return {
        "name": description.name,
        "origin": description.origin,
        "notes": list(description.notes),
        "parameters": description.num_parameters,
        "sampling": {
            "temperature": description.sampling_params.temperature,
            "top_k": description.sampling_params.top_k,
            "top_p": description.sampling_params.top_p,
        },
        "nbytes": description.nbytes,
        "stored": [attrs.asdict(one) for one in description.storage],
        "architecture": attrs.asdict(description.architecture),
        "needs": {
            dtype: [
                {"tokens": tokens, **attrs.asdict(one), "total": one.total} for tokens, one in lengths.items()
            ]
            for dtype, lengths in estimates.items()
        },
        "fits": [attrs.asdict(one) for one in reports],
    }
