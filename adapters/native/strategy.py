"""Build models with the engine of their placement."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import attrs

from litgpt.adapters.native.library import instruction_set, is_installed
from litgpt.adapters.native.structures import Format
from litgpt.adapters.native.threads import thread_count
from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.model import Architecture
from litgpt.domain.ports import Checkpoint, DistributionStrategy, PlacedModel
from litgpt.domain.progress import Notice, Reporter, null_reporter
from litgpt.domain.weights.mapping import ParameterSource

if TYPE_CHECKING:
    from litgpt.adapters.native.model import NativeModel
    from litgpt.adapters.native.placed_model import NativePlacedModel

# This module builds the models of both engines: each engine is imported when it is used.

_FORMAT_NAMES = {
    Format.F32: "float32",
    Format.BF16: "bfloat16",
    Format.F16: "float16",
    Format.Q8: "8-bit",
    Format.Q6K: "6-bit",
    **dict.fromkeys((Format.Q5, Format.Q5M, Format.Q5K), "5-bit"),
    **dict.fromkeys((Format.Q4, Format.Q4M, Format.Q4Z, Format.Q4K, Format.FP4), "4-bit"),
}


@attrs.frozen
class NativeStrategy:
    """Builds models with the native engine, and other models with `torch`.

    Attributes:
        load_torch: Returns the strategy of the torch engine, which also builds the network of a native model.
            Importing torch takes seconds.
        detect_hardware: Returns the hardware of this machine.
        random_seed: Returns the seed of a request without one.
    """

    load_torch: Callable[[], DistributionStrategy[Any]]
    detect_hardware: Callable[[], Hardware]
    random_seed: Callable[[], int]

    def hardware(self, replaced: PlacedModel[Any] | None = None) -> Hardware:
        is_native = replaced is not None and replaced.placement.engine == "native"
        native = cast("NativePlacedModel", replaced) if is_native else None
        network = replaced if native is None else native.built_torch
        hardware = self.detect_hardware() if network is None else self.load_torch().hardware(network)
        memory = hardware.available_host_memory
        if native is not None and memory is not None:
            memory += native.nbytes
        return attrs.evolve(hardware, available_host_memory=memory, has_native_engine=is_installed())

    def check(
        self, placement: Placement, architecture: Architecture, sources: tuple[ParameterSource, ...]
    ) -> None:
        if placement.engine != "native":
            self.load_torch().check(placement, architecture, sources)

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Any],
        report: Reporter,
    ) -> PlacedModel[Any]:
        if placement.engine != "native":
            return self.load_torch().build(placement, architecture, sources, checkpoint, report)
        from litgpt.adapters.native.build import build_model
        from litgpt.adapters.native.placed_model import NativePlacedModel

        quantize = placement.quantize
        model = build_model(
            architecture,
            sources,
            checkpoint,
            report,
            dtype=placement.dtype,
            keeps_quantization=placement.keeps_quantization,
            quantize=quantize if quantize in ("int8", "int4") else None,
            kv_cache=placement.kv_cache,
        )
        weights = placement.quantize or _main_format(model)
        cache = "" if placement.kv_cache is None else f", {placement.kv_cache} KV cache"
        engine = f"the native engine ({instruction_set()}, {_threads()})"
        report(Notice(f"Using {engine}, {weights} weights{cache}"))
        same = attrs.evolve(placement, engine="torch", keeps_quantization=False, kv_cache=None)

        def build_torch() -> PlacedModel[Any]:
            return self.load_torch().build(same, architecture, sources, checkpoint, null_reporter)

        def available_memory() -> int | None:
            return self.detect_hardware().available_host_memory

        return NativePlacedModel(model, placement, build_torch, self.random_seed, available_memory)


def _threads() -> str:
    count = thread_count()
    return f"{count} thread{'s' if count > 1 else ''}"


def _main_format(model: "NativeModel") -> str:
    """Return the format of most weights."""
    sizes: dict[Format, int] = {}
    for matrix in model.weights.values():
        sizes[matrix.format] = sizes.get(matrix.format, 0) + matrix.rows * matrix.cols
    return _FORMAT_NAMES[max(sizes, key=sizes.__getitem__)]
