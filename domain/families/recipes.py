"""How the parts of an architecture are read from a config: the vocabulary in which families are written."""

import attrs

from litgpt.domain.architecture import (
    Activation,
    Attention,
    GatedFeedForward,
    LinearScaling,
    Llama3Scaling,
    Norm,
    Rotary,
)
from litgpt.domain.families.settings import Key, Settings

# What Hugging Face calls an activation, and what it is.
ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}


@attrs.frozen(kw_only=True)
class RmsNorm:
    """How a family writes its RMSNorm."""

    eps: Key = Key("rms_norm_eps", 1e-6)
    unit_offset: bool = False

    def read(self, settings: Settings) -> Norm:
        """Return the norm."""
        return Norm(eps=settings.number(self.eps), unit_offset=self.unit_offset)


@attrs.frozen(kw_only=True)
class Windows:
    """Which layers see only a window.

    A `layer_types` list in the config decides. Without one, every `pattern`-th layer sees everything.

    Attributes:
        size: The window, in tokens.
        enabled: Whether there are windows at all.
        pattern: How many layers make a round, of which the last sees everything.
        first: The first layer that has a window, where there is no pattern.

    """

    size: Key = Key("sliding_window", None)
    enabled: Key | bool = True
    pattern: Key | None = None
    first: Key | None = None

    def kind(self, settings: Settings, layer: int) -> str:
        """Return `full_attention` or `sliding_attention`, Hugging Face's names for the two kinds of layer."""
        if not settings.flag(self.enabled) or settings.get(self.size) is None:
            return "full_attention"
        kinds = settings.get(Key("layer_types", None))
        if kinds is not None:
            if not isinstance(kinds, list) or len(kinds) <= layer:
                settings.refuse_value(Key("layer_types"), "a list with an entry for each layer")
            if kinds[layer] not in ("full_attention", "sliding_attention"):
                raise settings.refuse("layer_types", kinds[layer])
            return str(kinds[layer])
        if self.pattern is not None:
            full = (layer + 1) % settings.integer(self.pattern) == 0
        else:
            full = self.first is not None and layer < int(settings.get(self.first))
        return "full_attention" if full else "sliding_attention"


@attrs.frozen(kw_only=True)
class SoftmaxAttention:
    """How a family writes its attention.

    Attributes:
        qkv_bias: Whether queries, keys and values have a bias.
        output_bias: Whether the projection after attention has one.
        head_size: The setting with the head's size; absent, the width over the heads.
        scale_from: The setting whose inverse root scales the scores; None takes the head's size.
        qk_norm: How queries and keys are normalised; None does not.
        windows: Which layers see only a window; None has no such layers.
        rope_base: The setting with the rotary base.
        local_base: That of windowed layers, in configs older than `rope_parameters`.

    """

    qkv_bias: Key | bool = False
    output_bias: Key | bool = False
    head_size: Key = Key("head_dim", None)
    scale_from: Key | None = None
    qk_norm: RmsNorm | None = None
    windows: Windows | None = None
    rope_base: Key = Key("rope_theta", 10000.0)
    local_base: Key | None = None

    def read(self, settings: Settings, layer: int) -> Attention:
        """Return the attention of one layer."""
        heads = settings.integer(Key("num_attention_heads"))
        groups = settings.integer(Key("num_key_value_heads", heads))
        if heads % groups:
            settings.refuse_value(Key("num_key_value_heads"), f"a divisor of num_attention_heads ({heads})")
        width = settings.integer(Key("hidden_size"))
        head_size = settings.integer(attrs.evolve(self.head_size, default=width // heads))
        kind = self.windows.kind(settings, layer) if self.windows else "full_attention"
        scaled_by = settings.number(self.scale_from) if self.scale_from else head_size
        return Attention(
            heads=heads,
            groups=groups,
            head_size=head_size,
            scale=scaled_by**-0.5,
            rotary=self._rotary(settings, head_size, kind),
            window=settings.integer(self.windows.size)
            if self.windows and kind == "sliding_attention"
            else None,
            qkv_bias=settings.flag(self.qkv_bias),
            output_bias=settings.flag(self.output_bias),
            qk_norm=self.qk_norm.read(settings) if self.qk_norm else None,
        )

    def _rotary(self, settings: Settings, size: int, kind: str) -> Rotary:
        # transformers 5 writes rope_parameters, by kind of layer where the kinds differ; older files write
        # rope_theta and rope_scaling beside each other.
        given = settings.mapping(Key("rope_parameters"))
        if given:
            inner = attrs.evolve(settings, values=given).mapping(Key(kind))
            given = inner or given
            base = attrs.evolve(settings, values={**settings.values, **given}).number(self.rope_base)
        elif kind == "sliding_attention" and self.local_base is not None:
            base = settings.number(self.local_base)  # windows are short: they were never stretched
        else:
            given, base = settings.mapping(Key("rope_scaling")), settings.number(self.rope_base)
        partial = given.get("partial_rotary_factor", settings.get(Key("partial_rotary_factor", 1.0)))
        if partial != 1:
            raise settings.refuse("partial_rotary_factor", partial)
        return Rotary(size=size, base=base, scaling=_scaling(attrs.evolve(settings, values=given)))


def _scaling(settings: Settings) -> LinearScaling | Llama3Scaling | None:
    kind = settings.get(Key("rope_type", settings.get(Key("type", "default"))))
    match kind:
        case "default":
            return None
        case "linear":
            return LinearScaling(factor=settings.number(Key("factor")))
        case "llama3":
            return Llama3Scaling(
                factor=settings.number(Key("factor")),
                low_freq_factor=settings.number(Key("low_freq_factor")),
                high_freq_factor=settings.number(Key("high_freq_factor")),
                original_context=settings.integer(Key("original_max_position_embeddings")),
            )
        case _:
            raise settings.refuse("rope_type", kind)


@attrs.frozen(kw_only=True)
class Gated:
    """How a family writes its gated feed-forward."""

    activation: Key = Key("hidden_act", "silu")
    bias: Key | bool = False

    def read(self, settings: Settings) -> GatedFeedForward:
        """Return the feed-forward."""
        name = settings.get(self.activation)
        if name not in ACTIVATIONS:
            raise settings.refuse(self.activation.name, name)
        return GatedFeedForward(
            size=settings.integer(Key("intermediate_size")),
            activation=ACTIVATIONS[name],
            bias=settings.flag(self.bias),
        )
