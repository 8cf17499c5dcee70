"""Check the memory of a training run before it is allocated."""

from typing import Any

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.lora.initialization import count_lora_parameters
from litgpt.application.load_model import LoadedModel
from litgpt.domain.distribution.placement import Hardware
from litgpt.domain.distribution.training_placement import training_placement
from litgpt.domain.memory.estimate import parameter_count
from litgpt.domain.memory.preflight import allocated_bytes, check_training
from litgpt.domain.memory.training_estimate import TrainingFootprint, training_footprint
from litgpt.domain.training.config import TrainConfig
from litgpt.domain.weights.tensor_info import DType
from litgpt.llm_parts.lora import written_as

_COMPUTES_IN = {"bf16-true": "bfloat16", "bf16-mixed": "bfloat16", "16-mixed": "float16"}


@attrs.frozen(kw_only=True)
class TrainingMemory:
    """The estimated memory of a run on each device; the weights of its model need not be loaded.

    `dtype` is that of the weights, `trained` the number of trained parameters.
    """

    loaded: LoadedModel[Tensor]
    config: TrainConfig
    precision: str
    dtype: DType
    trained: int = attrs.field(init=False)
    _adapts_all: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        loaded, everywhere = self.loaded, True
        if self.config.uses_lora:
            count, everywhere = count_lora_parameters(
                loaded.architecture, *written_as(loaded), self.config.lora_config
            )
        else:
            count = parameter_count(loaded.architecture)
        object.__setattr__(self, "trained", count)
        object.__setattr__(self, "_adapts_all", everywhere)

    def needs(self, longest: int) -> TrainingFootprint:
        """Return the memory for batches of sequences with `longest` tokens."""
        config = self.config
        compute: Any = _COMPUTES_IN.get(self.precision, self.dtype)
        quantize: Any = config.quantization  # validated by TrainConfig
        return training_footprint(
            self.loaded.architecture,
            trained=self.trained,
            adapts=config.uses_lora,
            dtype=self.dtype,
            compute_dtype=compute,
            tokens=config.batch_size * longest,
            rows=config.batch_size,
            adapts_all=self._adapts_all,
            checkpointing=config.gradient_checkpointing,
            accumulates=config.accumulate > 1,
            quantize=quantize,
            parts=config.devices * config.nodes if config.strategy == "fsdp" else 1,
        )

    def check(self, hardware: Hardware, longest: int) -> None:
        """Raise UnsupportedOperation if batches of sequences with `longest` tokens do not fit into memory."""
        config, loaded, needs = self.config, self.loaded, self.needs(longest)
        device = hardware.accelerator if config.accelerator in ("auto", "gpu") else config.accelerator
        weights = needs.weights
        if config.uses_lora and device != "cuda":
            placement = training_placement(self.dtype, config.quantization, hardware)
            weights = min(
                weights, allocated_bytes(placement, loaded.weight_sources, loaded.checkpoint.tensors)
            )
        check_training(
            f"Training {loaded.checkpoint.name} with batch_size={config.batch_size}",
            needs,
            weights=weights,
            device=device,
            devices=config.devices,
            hardware=hardware,
            remedy=_less(config),
        )


def dtype_name(dtype: torch.dtype) -> DType:
    """Return the name of the dtype in which weights are trained."""
    return "bfloat16" if dtype is torch.bfloat16 else "float32"


def _less(config: TrainConfig) -> str:
    batch = "gradient_checkpointing, or a smaller batch_size or max_seq_length."
    if config.uses_lora:
        qlora = "" if config.quantization else "method='qlora', "
        return f"Use {qlora}a smaller lora_rank, {batch}"
    if config.init == "random":  # an adapter on random weights is useless
        return f"Use a smaller model, {batch}"
    return f"Use method='lora' or 'qlora', {batch}"
