"""A layer without a mixer or without a feed-forward part."""

from collections.abc import Iterator
from typing import Self

import attrs

from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.mlp import FeedForwardSpec
from litgpt.domain.model.parameter_spec import ParameterSpec


@attrs.frozen
class AbsentMixerSpec(MixerSpec):
    """The mixer of a layer that consists of a feed-forward part only."""

    @property
    def num_kv_heads(self) -> int:
        return 0

    @property
    def cache_spec(self) -> CacheSpec:
        return CacheSpec()

    @property
    def activations_per_token(self) -> int:
        return 0

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        del name, hidden_size
        return iter(())

    def shard(self, world_size: int, rank: int) -> Self:
        del world_size, rank
        return self


@attrs.frozen
class AbsentMLPSpec(FeedForwardSpec):
    """The feed-forward part of a layer that consists of a mixer only."""

    @property
    def intermediate_size(self) -> int:
        return 0

    @property
    def activations_per_token(self) -> int:
        return 0

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        del name, hidden_size
        return iter(())

    def shard(self, world_size: int, rank: int) -> Self:
        del world_size, rank
        return self
