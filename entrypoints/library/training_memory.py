"""The memory that a training run takes, counted before any of it is allocated."""

from typing import Any

import attrs
import torch

from litgpt.adapters.pytorch.lora.creating import trained_numbers
from litgpt.adapting import written_as
from litgpt.container import container
from litgpt.domain.footprint import parameter_count
from litgpt.domain.memory import allocated_bytes, check_training
from litgpt.domain.placement import to_train
from litgpt.domain.tensors import DType
from litgpt.domain.training.footprint import TrainingFootprint, training_footprint
from litgpt.domain.training.recipe import Recipe
from litgpt.llm import LLM

_COMPUTES_IN = {"bf16-true": "bfloat16", "bf16-mixed": "bfloat16", "16-mixed": "float16"}


@attrs.frozen(kw_only=True)
class TrainingMemory:
    """What a run takes on each device: for the line at its start, and to refuse what cannot fit.

    Attributes:
        llm: The model, whose weights need not be read.
        recipe: How it is trained.
        precision: The Trainer's.
        dtype: The data type of the model's own weights.
        trained: The number of parameters that are trained.

    """

    llm: LLM
    recipe: Recipe
    precision: str
    dtype: DType
    trained: int = attrs.field(init=False)
    _adapts_all: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        loaded, everywhere = self.llm._loaded, True  # noqa: SLF001 - an LLM's own half
        if self.recipe.adapts:
            count, everywhere = trained_numbers(loaded.architecture, *written_as(loaded), self.recipe.lora)
        else:
            count = parameter_count(loaded.architecture)
        object.__setattr__(self, "trained", count)
        object.__setattr__(self, "_adapts_all", everywhere)

    def needs(self, longest: int) -> TrainingFootprint:
        """Return what a batch of texts needs that have this many tokens."""
        recipe = self.recipe
        compute: Any = _COMPUTES_IN.get(self.precision, self.dtype)
        quantize: Any = recipe.quantised_as  # the recipe has checked it
        return training_footprint(
            self.llm.config.architecture,
            trained=self.trained,
            adapts=recipe.adapts,
            dtype=self.dtype,
            compute_dtype=compute,
            tokens=recipe.batch_size * longest,
            rows=recipe.batch_size,
            adapts_all=self._adapts_all,
            checkpointing=recipe.gradient_checkpointing,
            accumulates=recipe.accumulate > 1,
            quantize=quantize,
            parts=recipe.devices * recipe.nodes if recipe.strategy == "fsdp" else 1,
        )

    def check(self, longest: int) -> None:
        """Raise if such a batch cannot be trained on here.

        Raises:
            OutOfReach: Weights, gradients, optimizer states and activations need more memory than there is.

        """
        recipe, loaded, needs = self.recipe, self.llm._loaded, self.needs(longest)  # noqa: SLF001 - as above
        hardware = container.strategy().hardware()
        device = hardware.accelerator if recipe.accelerator in ("auto", "gpu") else recipe.accelerator
        weights = needs.weights
        if recipe.adapts and device != "cuda":
            placement = to_train(self.dtype, recipe.quantised_as, hardware)
            weights = min(weights, allocated_bytes(placement, loaded.joins, loaded.checkpoint.tensors))
        check_training(
            f"Training {loaded.checkpoint.name} with batch_size={recipe.batch_size}",
            needs,
            weights=weights,
            device=device,
            devices=recipe.devices,
            hardware=hardware,
            remedy=_less(recipe),
        )


def dtype_name(dtype: torch.dtype) -> DType:
    """Return the name of a data type that a model's own weights are trained in."""
    return "bfloat16" if dtype is torch.bfloat16 else "float32"


def _less(recipe: Recipe) -> str:
    """Return what makes a run smaller."""
    batch = "gradient_checkpointing, or a smaller batch_size or max_seq_length."
    if recipe.adapts:
        qlora = "" if recipe.quantised_as else "method='qlora', "
        return f"Use {qlora}a smaller lora_rank, {batch}"
    if recipe.init == "random":  # of which an adapter would change nothing that counts
        return f"Use a smaller model, {batch}"
    return f"Use method='lora' or 'qlora', {batch}"
