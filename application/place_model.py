"""Place a loaded model on the hardware, for inference or for training."""

from collections.abc import Callable
from typing import Generic, cast

import attrs

from litgpt.application.check_draft import check_draft
from litgpt.application.load_model import LoadedModel, TensorT
from litgpt.domain.bridge import BridgedArchitecture
from litgpt.domain.distribution.cpu_matmul import slow_placement_warning
from litgpt.domain.distribution.notices import no_gpu_warning, torch_notice
from litgpt.domain.distribution.placement import (
    DistributeOptions,
    Hardware,
    Placement,
    resolve_placement,
)
from litgpt.domain.distribution.training_placement import training_placement
from litgpt.domain.memory.cpu_offload import offload_notice, with_cpu_offload
from litgpt.domain.memory.preflight import allocated_bytes, check_memory
from litgpt.domain.model import Architecture
from litgpt.domain.ports import DistributionStrategy, DraftedModel, ModelBridge, PlacedModel
from litgpt.domain.progress import Notice, Progress, Reporter
from litgpt.domain.weights.tensor_info import DType, loses_precision_in_bfloat16


@attrs.frozen
class PlaceModel(Generic[TensorT]):
    """Builds a loaded model on its devices.

    Attributes:
        missing_part: Returns a part of a model that the native engine does not have; None if it has all.
        bridge: Describes the models that transformers computes; None: unknown models are refused.
    """

    strategy: DistributionStrategy[TensorT]
    equal: Callable[[TensorT, TensorT], bool]
    missing_part: Callable[[Architecture], str | None] = lambda _: None
    bridge: ModelBridge | None = None

    def check(
        self,
        loaded: LoadedModel[TensorT],
        options: DistributeOptions,
        *,
        replaced: PlacedModel[TensorT] | None = None,
    ) -> Placement:
        """Check that a model can be placed in place of `replaced`, before anything is allocated.

        Returns the placement.

        Raises:
            InvalidArgument: An argument is not valid.
            UnsupportedOperation: The hardware is not available, the model cannot be split or is not supported
                by the engine, or there is not enough memory.
        """
        loaded = self._for_engine(loaded, options)
        hardware = self.strategy.hardware(replaced)
        placement = with_cpu_offload(self._resolve(loaded, options, hardware), loaded.architecture, hardware)
        self.strategy.check(placement, loaded.architecture, loaded.weight_sources)
        _check_memory(loaded, placement, hardware)
        if loaded.draft is not None:
            missing = self.missing_part(loaded.draft.architecture)
            names = loaded.checkpoint.name, loaded.draft.checkpoint.name
            check_draft(
                (names[0], loaded.architecture), (names[1], loaded.draft.architecture), placement, missing
            )
            _check_memory(
                loaded.draft, self._place_draft(loaded.draft, hardware), _beside(loaded, placement, hardware)
            )
        return placement

    def __call__(
        self, loaded: LoadedModel[TensorT], options: DistributeOptions, report: Reporter
    ) -> tuple[LoadedModel[TensorT], PlacedModel[TensorT]]:
        """Return the loaded model with its LM head resolved, and the placed model."""
        loaded = self._for_engine(loaded, options)
        hardware = self.strategy.hardware()
        requested = self._resolve(loaded, options, hardware)
        placement = with_cpu_offload(requested, loaded.architecture, hardware)
        _report_notes(loaded, report)
        if notice := offload_notice(placement, loaded.architecture):
            report(Notice(notice))
        if warning := slow_placement_warning(requested, hardware):
            report(Notice(warning))
        loaded = self._fetch(loaded, report)
        # An untied LM head needs more memory.
        placement = with_cpu_offload(requested, loaded.architecture, hardware)
        if placement.engine != "native":  # the native engine reports its instruction set and its threads
            report(Notice(f"Using {len(placement.devices)} device(s): {_placement_summary(placement)}"))
        missing_part = self.missing_part(loaded.architecture)
        if notice := torch_notice(options, placement, hardware, missing_part):
            report(Notice(notice))
        if warning := no_gpu_warning(options, placement):
            report(Notice(warning))
        placed = self._build(loaded, placement, report)
        if loaded.draft is not None:
            try:
                cast("DraftedModel[TensorT]", placed).draft = self._build_draft(loaded.draft, report)
            except BaseException:
                placed.close()
                raise
        return loaded, placed

    def for_training(
        self, loaded: LoadedModel[TensorT], dtype: DType, report: Reporter, *, quantize: str | None = None
    ) -> tuple[LoadedModel[TensorT], PlacedModel[TensorT]]:
        """Place a model on the CPU for training by the Lightning Trainer; the result is that of a call."""
        hardware = self.strategy.hardware()
        placement = training_placement(dtype, quantize, hardware, bridged=_bridged_reason(loaded))
        _check_memory(loaded, placement, hardware)
        _report_notes(loaded, report)
        loaded = self._fetch(loaded, report)
        return loaded, self._build(loaded, placement, report)

    def _resolve(
        self, loaded: LoadedModel[TensorT], options: DistributeOptions, hardware: Hardware
    ) -> Placement:
        return resolve_placement(
            options,
            hardware,
            bfloat16_loses_precision=loses_precision_in_bfloat16(loaded.checkpoint.tensors.values()),
            missing_part=self.missing_part(loaded.architecture),
            bridged=_bridged_reason(loaded),
        )

    def _for_engine(self, loaded: LoadedModel[TensorT], options: DistributeOptions) -> LoadedModel[TensorT]:
        """Return the model as described for transformers if that was chosen, else on its own network."""
        own = loaded.own or loaded
        if options.engine != "transformers" or own.is_bridged or self.bridge is None:
            return own
        if loaded.own is not None:
            return loaded
        checkpoint = own.checkpoint
        reason = "engine='transformers' was chosen"
        resolved = self.bridge(checkpoint.name, checkpoint.config, checkpoint.tensors, reason)
        return attrs.evolve(
            own,
            architecture=resolved.architecture,
            weight_sources=resolved.sources,
            untied_head=None,
            notes=(*checkpoint.notes, *resolved.notes),
            own=own,
        )

    def _place_draft(self, draft: LoadedModel[TensorT], hardware: Hardware) -> Placement:
        return self._resolve(draft, DistributeOptions(accelerator="cpu", engine="native"), hardware)

    def _build_draft(self, draft: LoadedModel[TensorT], report: Reporter) -> PlacedModel[TensorT]:
        def report_progress(event: Notice | Progress) -> None:
            if isinstance(event, Progress):
                report(event)

        draft = self._fetch(draft, report_progress)
        placed = self._build(draft, self._place_draft(draft, self.strategy.hardware()), report_progress)
        report(Notice(f"Using {draft.checkpoint.name} as draft model"))
        return placed

    def _build(
        self, loaded: LoadedModel[TensorT], placement: Placement, report: Reporter
    ) -> PlacedModel[TensorT]:
        return self.strategy.build(
            placement, loaded.architecture, loaded.weight_sources, loaded.checkpoint, report
        )

    def _fetch(self, loaded: LoadedModel[TensorT], report: Reporter) -> LoadedModel[TensorT]:
        """Download the weights and return the model with its LM head resolved."""
        loaded.checkpoint.fetch(report)
        resolved = loaded.resolve_tied_head(self.equal)
        if resolved.architecture.tie_word_embeddings != loaded.architecture.tie_word_embeddings:
            report(Notice(f"{loaded.checkpoint.name}: {_UNTIED_HEAD_NOTE}"))
        return resolved


def _bridged_reason(loaded: LoadedModel[TensorT]) -> str | None:
    architecture = loaded.architecture
    return architecture.reason if isinstance(architecture, BridgedArchitecture) else None


def _check_memory(loaded: LoadedModel[TensorT], placement: Placement, hardware: Hardware) -> None:
    checkpoint = loaded.checkpoint
    check_memory(
        checkpoint.name, placement, loaded.architecture, loaded.weight_sources, checkpoint.tensors, hardware
    )


_UNTIED_HEAD_NOTE = (
    "config.json ties the LM head to the embedding (tie_word_embeddings), but the checkpoint contains an LM "
    "head with different values, which is used. Set tie_word_embeddings to false to silence this notice."
)


def _beside(loaded: LoadedModel[TensorT], placement: Placement, hardware: Hardware) -> Hardware:
    """Return the hardware with the memory that a model leaves."""
    available = hardware.available_host_memory
    if available is None:
        return hardware
    used = allocated_bytes(placement, loaded.weight_sources, loaded.checkpoint.tensors)
    return attrs.evolve(hardware, available_host_memory=max(0, available - used))


def _placement_summary(placement: Placement) -> str:
    kinds = ", ".join(dict.fromkeys(device.partition(":")[0] for device in placement.devices))
    quantized = "" if placement.quantize is None else f", weights in {placement.quantize}"
    return f"{kinds}, {placement.dtype}{quantized}"


def _report_notes(loaded: LoadedModel[TensorT], report: Reporter) -> None:
    for note in loaded.notes:
        report(Notice(f"{loaded.checkpoint.name}: {note}"))
