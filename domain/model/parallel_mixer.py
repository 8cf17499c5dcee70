"""Attention and a state space in the same layer."""

from collections.abc import Iterator
from typing import Self

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.attention import AttentionSpec
from litgpt.domain.model.linear_attention.mamba2 import Mamba2Spec
from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.parameter_spec import ParameterSpec
from litgpt.domain.model.rope import RopeSpec


@attrs.frozen(kw_only=True)
class ParallelMixerSpec(MixerSpec):
    """The sum of attention and a state space over the same input.

    Source: Zuo et al. 2025, "Falcon-H1", arXiv:2507.22448.

    Attributes:
        attention_scales: Factors of the input and of the output of attention.
        state_space_scales: Factors of the input and of the output of the state space.
    """

    attention: AttentionSpec
    state_space: Mamba2Spec
    attention_scales: tuple[float, float] = (1.0, 1.0)
    state_space_scales: tuple[float, float] = (1.0, 1.0)

    __repr__ = brief_repr

    @property
    def num_kv_heads(self) -> int:
        return self.attention.num_kv_heads

    @property
    def rope(self) -> RopeSpec | None:
        return self.attention.rope

    @property
    def cache_spec(self) -> CacheSpec:
        keys, state = self.attention.cache_spec, self.state_space.cache_spec
        return attrs.evolve(keys, recurrent_shape=state.recurrent_shape, conv_shape=state.conv_shape)

    @property
    def activations_per_token(self) -> int:
        return self.attention.activations_per_token + self.state_space.activations_per_token

    def score_bytes(self, tokens: int, length: int, dtype_bytes: int) -> int:
        return self.attention.score_bytes(tokens, length, dtype_bytes)

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        yield from self.attention.parameters(f"{name}.attention", hidden_size)
        yield from self.state_space.parameters(f"{name}.state_space", hidden_size)

    def shard(self, world_size: int, rank: int) -> Self:
        attention = self.attention.shard(world_size, rank)
        return attrs.evolve(self, attention=attention, state_space=self.state_space.shard(world_size, rank))
