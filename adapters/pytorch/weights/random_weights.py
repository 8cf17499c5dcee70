"""Random weights: a model from its config alone, initialized when its tensors are read."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.ops.dtypes import TORCH_DTYPES
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.model import Architecture, ParameterRole
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles
from litgpt.domain.weights.mapping import TensorTarget, invert_mapping, map_parameters
from litgpt.domain.weights.tensor_info import DType, TensorInfo

# The standard deviation of GPT-2 (Radford et al. 2019, section 2.3) and of most configs with an
# `initializer_range`.
_DEFAULT_STD = 0.02


@attrs.define(slots=False)
class RandomCheckpoint:
    """A checkpoint with random weights, made from a config.

    The weights follow from torch's global generator, so `torch.manual_seed` makes them reproducible. Output
    projections of blocks are scaled by 1 / sqrt(2 * layers), so that the residual stream does not grow with
    depth (Radford et al. 2019, section 2.3).
    """

    name: str
    config: Mapping[str, object] = attrs.field(repr=False)
    folder: Path | None = None
    path: Path | None = None
    generation_config: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    prompt_style: str | None = None
    tokenizer: TokenizerFiles = attrs.field(factory=lambda: TokenizerFiles({}), repr=False)
    notes: tuple[str, ...] = ("its weights are random; the model is not trained.",)

    @property
    def origin(self) -> str:
        return f"random weights for {self.name}"

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors by name; none has bytes in a file."""
        targets = self._targets.items()
        return {name: TensorInfo(parts[0].view.shape, "F32", 0) for name, parts in targets}

    def fetch(self, report: Reporter) -> None:
        """Do nothing: the weights are not stored in files."""

    def read(self, name: str, dtype: DType | None = None) -> Tensor:
        """Return a tensor with new random values at each call."""
        if name not in self._targets:
            raise InvalidArgument("name", name, f"one of the tensors of {self.name}")
        target = self._targets[name][0]
        torch_dtype = TORCH_DTYPES[dtype or "float32"]
        if target.parameter.init_value is not None:
            return torch.full(target.view.shape, target.parameter.init_value, dtype=torch_dtype)
        return self._initialize(target.parameter.role, target.view.shape).to(torch_dtype)

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
        std = self.config.get("initializer_range")
        return float(std) if isinstance(std, (int, float)) and std > 0 else _DEFAULT_STD

    @cached_property
    def _architecture(self) -> Architecture:
        return parse_config(self.name, self.config)

    @cached_property
    def _targets(self) -> dict[str, tuple[TensorTarget, ...]]:
        return invert_mapping(
            tuple(map_parameters(self._architecture, family_of(self.name, self.config).weights))
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

    def open(self, reference: ModelReference) -> RandomCheckpoint:
        return RandomCheckpoint(reference.name, self.find_config(reference))
