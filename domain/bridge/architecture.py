"""Models that another library computes: what is known of them from their config and their tensors."""

from collections.abc import Iterator

import attrs

from litgpt.domain.model import Architecture, CacheSpec, FeedForwardSpec, LayerSpec, MixerSpec, ParameterSpec


@attrs.frozen(kw_only=True)
class BridgedMixer(MixerSpec):
    """A mixer of unknown kind. Its cache is estimated as that of attention over all tokens."""

    hidden_size: int
    num_kv_heads: int
    head_dim: int

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        """Yield nothing: `BridgedArchitecture.parameters` has the parameters of all layers."""
        del name, hidden_size
        return iter(())

    @property
    def cache_spec(self) -> CacheSpec:
        return CacheSpec(num_kv_heads=self.num_kv_heads, k_head_dim=self.head_dim, v_head_dim=self.head_dim)

    @property
    def activations_per_token(self) -> int:
        return 4 * self.hidden_size


@attrs.frozen(kw_only=True)
class BridgedMLP(FeedForwardSpec):
    """A feed-forward layer of unknown kind; its size is that in the config, or an estimate."""

    intermediate_size: int

    @property
    def activations_per_token(self) -> int:
        return 3 * self.intermediate_size

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        """Yield nothing: `BridgedArchitecture.parameters` has the parameters of all layers."""
        del name, hidden_size
        return iter(())


@attrs.frozen(kw_only=True)
class BridgedArchitecture(Architecture):
    """The structure of a model that transformers computes, as far as it is needed around the network.

    Its parameters are exact. The memory of caches and activations is an estimate: the layers are described
    as if they were attention and an MLP of the sizes in the config.

    Attributes:
        reason: Why this library's own network does not compute it.
        tensors: The parameters, with the names of transformers' module.
        can_truncate: Whether all layers cache the keys and values of all tokens.
    """

    reason: str
    tensors: tuple[ParameterSpec, ...] = attrs.field(repr=False)
    can_truncate: bool = False

    @property
    def can_truncate_cache(self) -> bool:
        return self.can_truncate

    def parameters(self) -> Iterator[ParameterSpec]:
        return iter(self.tensors)


def bridged_layers(
    count: int, *, hidden_size: int, intermediate_size: int, num_kv_heads: int, head_dim: int
) -> tuple[LayerSpec, ...]:
    """Return the estimated layers of a model."""
    mixer = BridgedMixer(hidden_size=hidden_size, num_kv_heads=num_kv_heads, head_dim=head_dim)
    mlp = BridgedMLP(intermediate_size=intermediate_size)
    return (LayerSpec(mixer=mixer, mlp=mlp, norm_1=None, norm_2=None),) * count
