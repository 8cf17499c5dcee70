"""`litgpt info`: show the architecture and memory needs of a model, without loading the weights."""

from typing import TYPE_CHECKING, Any

from litgpt.cli import console, options
from litgpt.cli.info_structure import sampling, structure
from litgpt.cli.model_loading import StatusLine
from litgpt.domain.formatting.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litgpt.application.describe_model import ModelDescription
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
    from litgpt.domain.memory.estimate import check_fit, estimate_memory
    from litgpt.domain.reference import ModelReference

    reference = ModelReference(model, revision, offline or None, access_token)
    with StatusLine(f"Looking at {reference} …", quiet=quiet):
        description = DescribeModel(container.store(), container.bridge())(reference)
        memories = device_memory()
    architecture, formats = description.architecture, _formats(description.architecture)
    needs = {
        name: {
            tokens: estimate_memory(architecture, dtype=dtype, tokens=tokens, quantize=quantize)
            for tokens in sorted(
                {min(SHORT_CONTEXT, architecture.context_length), architecture.context_length}
            )
        }
        for name, (dtype, quantize) in formats.items()
    }
    reports = [
        check_fit(architecture, memory, dtype=dtype, quantize=quantize)
        for memory in memories
        for dtype, quantize in formats.values()
    ]
    per_device = info_devices.device_reports(architecture, devices)
    arithmetic = _arithmetic(architecture)
    if as_json:
        console.show_json(
            _as_dict(description, needs, reports)
            | {"devices": info_devices.as_dict(per_device), "arithmetic": arithmetic}
        )
        return
    console.heading(description.name)
    for line in (description.origin, *description.notes):
        console.show(f"  {line}")
    _section("Structure", structure(architecture, description.num_parameters))
    _section("Default sampling parameters", sampling(description.sampling_params))
    _section("Storage", _storage_rows(description))
    _section("Memory needs", _memory_rows(needs), numbers=True)
    _section("Arithmetic on this machine's CPU", list(arithmetic.items()))
    if per_device:
        info_devices.show(per_device, devices)
    for memory in memories:
        size = f"{format_bytes(memory.total)}, {format_bytes(memory.free)} free"
        labels = [(format_name(report), report) for report in reports if report.memory is memory]
        rows = [(label, advice(report, needs[label])) for label, report in labels]
        _section(f"This machine's {memory.device} ({size})", rows)


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
        return "fits with the full context"
    if at_most == context:
        missing = format_bytes(whole.total - report.memory.free)
        if now:
            return f"fits with up to {now:,} tokens, or the full context if other programs free {missing}"
        return f"does not fit now, but fits if other programs free {missing}"
    if now:
        return f"fits with up to {now:,} of {context:,} tokens; limit them with --max-new-tokens"
    if at_most:
        return f"does not fit now; without other programs, it fits with up to {at_most:,} tokens"
    smaller = "bfloat16" if report.dtype == "float32" else "int4"
    remedy = f"; try {smaller}" if report.quantize is None else ""
    return f"does not fit: the weights alone take {format_bytes(whole.weights)}{remedy}"


def _arithmetic(architecture: "Architecture") -> dict[str, str]:
    """Return the engine on one CPU, and the arithmetic with each weight format."""
    from litgpt.adapters.native.library import is_installed
    from litgpt.adapters.native.program.coverage import unsupported_part
    from litgpt.container import container
    from litgpt.domain.bridge import BridgedArchitecture
    from litgpt.domain.distribution.cpu_matmul import describe_placed_matmul
    from litgpt.domain.distribution.engine import native_obstacle, resolve_engine
    from litgpt.domain.distribution.notices import torch_notice
    from litgpt.domain.distribution.placement import DistributeOptions, Hardware, Placement

    reason = architecture.reason if isinstance(architecture, BridgedArchitecture) else None
    hardware = Hardware(cpu_features=container.cpu_features(), has_native_engine=is_installed())
    missing_part, devices = unsupported_part(architecture), ("cpu",)

    def placement(dtype: "DType", quantize: "Quantization | None") -> Placement:
        obstacle = native_obstacle(devices, quantize, missing_part, has_native=hardware.has_native_engine)
        engine = resolve_engine(None, obstacle, bridged=reason)
        return Placement(devices=devices, dtype=dtype, quantize=quantize, engine=engine)

    default = placement("bfloat16", None)
    notice = reason or torch_notice(DistributeOptions(), default, hardware, missing_part)
    return {"engine": default.engine if notice is None else f"{default.engine}. {notice}"} | {
        name: describe_placed_matmul(placement(dtype, quantize), hardware)
        for name, (dtype, quantize) in _formats(architecture).items()
    }


def _formats(architecture: "Architecture") -> "dict[str, tuple[DType, Quantization | None]]":
    """Return the formats in which the weights of a model can be; transformers has no quantized ones."""
    from litgpt.domain.bridge import BridgedArchitecture

    is_bridged = isinstance(architecture, BridgedArchitecture)
    return {name: it for name, it in DTYPES_SHOWN.items() if not is_bridged or it[1] is None}


def _section(title: str, rows: "Sequence[tuple[str, ...]]", *, numbers: bool = False) -> None:
    console.show("")
    console.heading(title)
    console.table(rows, indent=2, numbers=numbers)


def _storage_rows(description: "ModelDescription") -> list[tuple[str, ...]]:
    rows = [
        (group.format, format_bytes(group.nbytes), format_count(group.num_tensors, "tensor"))
        for group in description.storage
    ]
    bits = 8 * description.nbytes / max(1, sum(group.num_parameters for group in description.storage))
    return [*rows, ("total", format_bytes(description.nbytes), f"{bits:.1f} bits per weight")]


def _memory_rows(estimates: "dict[str, dict[int, MemoryEstimate]]") -> list[tuple[str, ...]]:
    full = [list(by_length.values())[-1] for by_length in estimates.values()]
    lengths = next(iter(estimates.values()))
    caches = [
        (f"KV cache of {tokens:,} tokens", [by_length[tokens].kv_cache for by_length in estimates.values()])
        for tokens in lengths
    ]
    rows = [
        ("weights", [estimate.weights for estimate in full]),
        *caches,
        ("activations, approximately", [estimate.activations for estimate in full]),
        ("Python and torch, approximately", [estimate.runtime for estimate in full]),
        ("total with the full context", [estimate.total for estimate in full]),
    ]
    return [("", *estimates), *((label, *map(format_bytes, sizes)) for label, sizes in rows)]


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
            "min_p": description.sampling_params.min_p,
            "typical_p": description.sampling_params.typical_p,
            "repetition_penalty": description.sampling_params.repetition_penalty,
        },
        "nbytes": description.nbytes,
        "stored": [attrs.asdict(group) for group in description.storage],
        "architecture": attrs.asdict(description.architecture, filter=lambda it, _: it.name != "tensors"),
        "needs": {
            dtype: [
                {"tokens": tokens, **attrs.asdict(estimate), "total": estimate.total}
                for tokens, estimate in by_length.items()
            ]
            for dtype, by_length in estimates.items()
        },
        "fits": [attrs.asdict(report) for report in reports],
    }
