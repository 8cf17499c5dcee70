"""Random weights: a model from its config alone, initialized when its tensors are read."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.ops.dtypes import TORCH_DTYPES
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.model import Architecture, ParameterRole
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.weights.mapping import TensorTarget, invert_mapping, map_parameters
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_info import DType, TensorInfo

# The standard deviation of GPT-2 (Radford et al. 2019, section 2.3) and of most configs with an
# `initializer_range`.
_DEFAULT_STD = 0.02


@attrs.define(slots=False)
class RandomTensors:
    """Random weights of the architecture that a config describes; each `read` returns new values.

    The weights follow from torch's global generator, so `torch.manual_seed` makes them reproducible. Output
    projections of blocks are scaled by 1 / sqrt(2 * layers), so that the residual stream does not grow with
    depth (Radford et al. 2019, section 2.3).
    """

    _name: str
    _config: Mapping[str, object] = attrs.field(repr=False)

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors by name; none has bytes in a file."""
        targets = self._targets.items()
        return {name: TensorInfo(parts[0].view.shape, "F32", 0) for name, parts in targets}

    def fetch(self, report: Reporter) -> None:
        """Do nothing: the weights are not stored in files."""

    def read(self, name: str, dtype: DType | None = None) -> Tensor:
        target = self._targets[name][0]
        torch_dtype = TORCH_DTYPES[dtype or "float32"]
        if target.parameter.init_value is not None:
            return torch.full(target.view.shape, target.parameter.init_value, dtype=torch_dtype)
        return self._initialize(target.parameter.role, target.view.shape).to(torch_dtype)

    def raw(self, name: str) -> RawTensor | None:  # noqa: ARG002 - no tensor is stored
        return None

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _initialize(self, role: ParameterRole, shape: tuple[int, ...]) -> Tensor:
        match role:
            case "norm":
                return torch.ones(shape)
            case "bias" | "buffer" | "norm_from_1":
                return torch.zeros(shape)
            case "output":
                outputs = 2 * len(self._architecture.layers)
                return torch.randn(shape).mul_(self._std / math.sqrt(outputs))
            case "projection" | "embedding":
                return torch.randn(shape).mul_(self._std)

    @property
    def _std(self) -> float:
        std = self._config.get("initializer_range")
        return float(std) if isinstance(std, (int, float)) and std > 0 else _DEFAULT_STD

    @cached_property
    def _architecture(self) -> Architecture:
        return parse_config(self._name, self._config)

    @cached_property
    def _targets(self) -> dict[str, tuple[TensorTarget, ...]]:
        return invert_mapping(
            tuple(map_parameters(self._architecture, family_of(self._name, self._config).weights))
        )


@attrs.frozen
class RandomStore:
    """Opens models with random weights, from their configs."""

    find_config: Callable[[ModelReference], Mapping[str, object]]

    @property
    def location(self) -> str:
        return "configs"

    def names(self) -> Iterator[str]:
        """Yield nothing: the stores that provide configs suggest names."""
        return iter(())

    def open(self, reference: ModelReference) -> Checkpoint[Tensor]:
        return random_checkpoint(reference.name, self.find_config(reference))


def random_checkpoint(name: str, config: Mapping[str, object]) -> Checkpoint[Tensor]:
    """Return a checkpoint with random weights and without a tokenizer."""
    return Checkpoint(
        name=name,
        origin=f"random weights for {name}",
        config=config,
        notes=("its weights are random; the model is not trained.",),
        source=RandomTensors(name, config),
    )
