"""A model that nobody has trained: its weights are drawn when they are read."""

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
from litgpt.domain.model import Architecture
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles
from litgpt.domain.weights.mapping import TensorTarget, invert_mapping, map_parameters
from litgpt.domain.weights.parameters import ParameterRole
from litgpt.domain.weights.tensor_info import DType, TensorInfo

# The standard deviation of GPT-2's weights (Radford et al. 2019, section 2.3), and of most configs that say
# one.
_DEFAULT_STD = 0.02


@attrs.define(slots=False)
class RandomCheckpoint:
    """A model of which there is a config and nothing else.

    It is drawn from torch's random numbers, so `torch.manual_seed` decides what it is. Projections back into
    the stream are drawn smaller, by the root of how many there are, so that the stream does not grow with
    depth (Radford et al. 2019, section 2.3).

    Attributes:
        name: What it was asked for as.
        config: Its config.

    """

    name: str
    config: Mapping[str, object] = attrs.field(repr=False)
    folder: Path | None = None
    path: Path | None = None
    generation_config: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    prompt_style: str | None = None
    tokenizer: TokenizerFiles = attrs.field(factory=lambda: TokenizerFiles({}), repr=False)
    notes: tuple[str, ...] = ("its weights are random: nobody has trained it.",)

    @property
    def origin(self) -> str:
        """Where it is, in words."""
        return f"random weights for {self.name}"

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor it would hold, by name. None takes bytes in a file."""
        return {name: TensorInfo(those[0].view.shape, "F32", 0) for name, those in self._targets.items()}

    def fetch(self, report: Reporter) -> None:
        """Do nothing: there is nothing to fetch."""

    def read(self, name: str, dtype: DType | None = None) -> Tensor:
        """Return a tensor, drawn anew at each call.

        Raises:
            BadArgument: There is no tensor of this name.

        """
        if name not in self._targets:
            raise InvalidArgument("name", name, f"one of the tensors of {self.name}")
        use = self._targets[name][0]
        wanted = TORCH_DTYPES[dtype or "float32"]
        if use.parameter.init_value is not None:
            return torch.full(use.view.shape, use.parameter.init_value, dtype=wanted)
        return self._draw(use.parameter.role, use.view.shape).to(wanted)

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _draw(self, role: ParameterRole, shape: tuple[int, ...]) -> Tensor:
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
        said = self.config.get("initializer_range")
        return float(said) if isinstance(said, (int, float)) and said > 0 else _DEFAULT_STD

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
    """Opens models whose config can be found, with random weights.

    Attributes:
        find_config: Finds the config of a model.

    """

    find_config: Callable[[ModelReference], Mapping[str, object]]

    @property
    def location(self) -> str:
        """Where this store looks, in words."""
        return "configs"

    def names(self) -> Iterator[str]:
        """Yield nothing: where configs are found, names are suggested."""
        return iter(())

    def open(self, reference: ModelReference) -> RandomCheckpoint:
        """Open a model.

        Raises:
            ModelNotFound: Nobody has its config.
            HubUnreachable: The Hub would have to be asked for it, and does not answer.

        """
        return RandomCheckpoint(reference.name, self.find_config(reference))
