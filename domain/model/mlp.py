"""Feed-forward layers: the base class, and MLPs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal, Self, TypeAlias

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.parameter_spec import ParameterRole, ParameterSpec, linear, tensor
from litgpt.domain.model.sharding import Sharding, Split, even_range, unsupported

Activation: TypeAlias = Literal["silu", "gelu", "gelu_tanh", "relu", "relu2", "xielu"]

XIELU_PARAMETERS: tuple[tuple[str, ParameterRole, float], ...] = (
    ("alpha_p", "bias", math.log(math.expm1(0.8))),
    ("alpha_n", "bias", math.log(math.expm1(0.3))),
    ("beta", "buffer", 0.5),
    ("eps", "buffer", -1e-6),
)
"""Parameters of the activation xIELU: name, role and initial value."""


class FeedForwardSpec(ABC):
    """A feed-forward layer."""

    __slots__ = ()

    @property
    def num_experts(self) -> int:
        """Number of experts, of which each token uses `num_experts_per_token`; 0 for a dense MLP."""
        return 0

    @property
    def num_experts_per_token(self) -> int:
        return 0

    @property
    def expert_share(self) -> float:
        """Probability that a token uses an expert; 1 for a dense MLP, which every token uses."""
        return self.num_experts_per_token / self.num_experts if self.num_experts else 1.0

    @property
    @abstractmethod
    def intermediate_size(self) -> int:
        """Intermediate size of the dense MLP, or of each expert."""

    @property
    @abstractmethod
    def activations_per_token(self) -> int:
        """Approximate number of activation values alive at the same time, per token."""

    def saved_activations(self, *, frozen: bool) -> int:
        """Return the number of elements per token that training saves for the backward pass."""
        # Trained weights need the gated product as well.
        return self.activations_per_token if frozen else round(4 / 3 * self.activations_per_token)

    @abstractmethod
    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        """Yield the parameters of the module `name`, in model order."""

    def shard(self, world_size: int, rank: int) -> Self:
        """Return a rank's slice of the intermediate dimension; raise UnsupportedOperation if it has none."""
        del rank
        if world_size > 1:
            raise unsupported(
                world_size, f"feed-forward layers of type {type(self).__name__} cannot be split"
            )
        return self


@attrs.frozen(kw_only=True)
class MLPSpec(FeedForwardSpec):
    """`proj(activation(fc(x)))`.

    The activation `xielu` has trained parameters (Huang & Schlag 2024, arXiv:2411.13010).
    """

    intermediate_size: int
    activation: Activation
    bias: bool = False

    __repr__ = brief_repr

    @property
    def activations_per_token(self) -> int:
        return 2 * self.intermediate_size

    def saved_activations(self, *, frozen: bool) -> int:
        # Only the input of the activation function, or its output as well.
        return self.intermediate_size if frozen else 2 * self.intermediate_size

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        size = self.intermediate_size
        rows, columns = Sharding(0, (Split(size),)), Sharding(1, (Split(size),))
        yield from linear(f"{name}.fc", size, hidden_size, bias=self.bias, sharding=rows)
        if self.activation == "xielu":
            for leaf, role, initial in XIELU_PARAMETERS:
                yield attrs.evolve(tensor(f"{name}.activation.{leaf}", 1, role=role), init_value=initial)
        yield from linear(f"{name}.proj", hidden_size, size, bias=self.bias, role="output", sharding=columns)

    def shard(self, world_size: int, rank: int) -> Self:
        first, last = even_range(self.intermediate_size, world_size, rank)
        return attrs.evolve(self, intermediate_size=last - first)


@attrs.frozen(kw_only=True)
class SwigluClamp:
    """Clamped SwiGLU (gpt-oss): `x * sigmoid(alpha * x) * (y + offset)` with clamped `x` and `y`.

    `limit` is the upper bound of the gate `x`; `y` is clamped to `[-limit, limit]`.
    """

    limit: float
    alpha: float
    offset: float = 1.0


@attrs.frozen(kw_only=True)
class GatedMLPSpec(FeedForwardSpec):
    """`proj(activation(fc_1(x)) * fc_2(x))` (Shazeer 2020, arXiv:2002.05202).

    Attributes:
        clamp: Clamped SwiGLU, used in place of `activation` (gpt-oss).
        activation_sparsity: Activation sparsity (Gemma 3n): the fraction of gate values set to 0, assuming
            that they are normally distributed. The threshold is subtracted from the values above it.
        gate_scale: Factor of the gate before its activation (Falcon-H1).
        output_scale: Factor of the output (Falcon-H1).
    """

    intermediate_size: int
    activation: Activation
    bias: bool = False
    clamp: SwigluClamp | None = None
    activation_sparsity: float = 0.0
    gate_scale: float = 1.0
    output_scale: float = 1.0

    __repr__ = brief_repr

    @property
    def activations_per_token(self) -> int:
        return 3 * self.intermediate_size

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        size = self.intermediate_size
        rows, columns = Sharding(0, (Split(size),)), Sharding(1, (Split(size),))
        for leaf in ("fc_1", "fc_2"):
            yield from linear(f"{name}.{leaf}", size, hidden_size, bias=self.bias, sharding=rows)
        yield from linear(f"{name}.proj", hidden_size, size, bias=self.bias, role="output", sharding=columns)

    def shard(self, world_size: int, rank: int) -> Self:
        first, last = even_range(self.intermediate_size, world_size, rank)
        return attrs.evolve(self, intermediate_size=last - first)
