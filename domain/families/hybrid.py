"""Read models with both attention and linear attention from a config."""

from typing import TypeAlias

import attrs

from litgpt.domain.architecture import Attention, GatedDelta
from litgpt.domain.families.attention import Latent, SoftmaxAttention
from litgpt.domain.families.feedforward import activation
from litgpt.domain.families.norms import RmsNorm
from litgpt.domain.families.settings import Key, Settings


@attrs.frozen(kw_only=True)
class Delta:
    """A family's settings of Gated DeltaNet."""

    norm: RmsNorm = RmsNorm()

    def read(self, settings: Settings, layer: int) -> GatedDelta:  # noqa: ARG002 - all layers are alike
        heads, groups = Key("linear_num_value_heads", 32), Key("linear_num_key_heads", 16)
        if settings.integer(heads) % settings.integer(groups):
            settings.refuse_value(groups, f"a divisor of {heads.name} ({settings.integer(heads)})")
        return GatedDelta(
            heads=settings.integer(heads),
            groups=settings.integer(groups),
            key_size=settings.integer(Key("linear_key_head_dim", 128)),
            value_size=settings.integer(Key("linear_value_head_dim", 128)),
            kernel=settings.integer(Key("linear_conv_kernel_dim", 4)),
            activation=activation(settings, Key("hidden_act", "silu")),
            norm=self.norm.read(settings),
        )


@attrs.frozen(kw_only=True)
class Hybrid:
    """Alternating full-attention (`full`) and linear-attention (`linear`) layers.

    The config's `layer_types` decides; without it, every `every`-th layer uses full attention.
    """

    full: SoftmaxAttention
    linear: Delta
    every: Key

    def read(self, settings: Settings, layer: int) -> Attention | GatedDelta:
        every = settings.integer(self.every)
        default = "linear_attention" if (layer + 1) % every else "full_attention"
        kinds = settings.get(Key("layer_types", [default] * (layer + 1)))
        if not isinstance(kinds, list) or len(kinds) <= layer:
            settings.refuse_value(Key("layer_types"), "a list with an entry for each layer")
        match kinds[layer]:
            case "full_attention":
                return self.full.read(settings, layer)
            case "linear_attention":
                return self.linear.read(settings, layer)
            case kind:
                raise settings.refuse("layer_types", kind)


AnyAttention: TypeAlias = SoftmaxAttention | Latent | Hybrid
