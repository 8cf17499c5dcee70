"""Lightning attention."""

from collections.abc import Iterator

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.mlp import Activation
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear


@attrs.frozen(kw_only=True)
class LightningSpec(MixerSpec):
    """Linear attention whose state decays by a constant factor of each head with every token.

    Source: Qin et al. 2024, arXiv:2401.04658; MiniMax 2025, arXiv:2501.08313.

    Attributes:
        decay: Negative logarithm of the factor of each head.
        activation: Activation of queries, keys and values.
        norm: Normalizes the output of all heads together, before the output gate.
    """

    head_dim: int
    decay: tuple[float, ...]
    activation: Activation
    norm: NormSpec

    __repr__ = brief_repr

    @property
    def num_heads(self) -> int:
        return len(self.decay)

    @property
    def num_kv_heads(self) -> int:
        return self.num_heads

    @property
    def cache_spec(self) -> CacheSpec:
        return CacheSpec(recurrent_shape=(self.num_heads, self.head_dim, self.head_dim))

    @property
    def activations_per_token(self) -> int:
        return 8 * self.num_heads * self.head_dim

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        heads, rows = self.num_heads, self.num_heads * self.head_dim
        pieces = (rows, rows, rows)  # queries, keys and values
        yield ParameterSpec(f"{name}.qkv_proj.weight", (3 * rows, hidden_size), pieces, num_groups=heads)
        yield from linear(f"{name}.output_gate", rows, hidden_size)
        yield from self.norm.parameters(f"{name}.norm", rows)
        yield from linear(f"{name}.out_proj", hidden_size, rows, role="output")
