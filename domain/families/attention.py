"""Read attention layers from a config."""

from collections.abc import Callable

import attrs

from litgpt.domain.architecture import (
    Attention,
    LatentAttention,
    QueryScaling,
    yarn_magnitude,
)
from litgpt.domain.families.alibi import Alibis
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key, Settings


@attrs.frozen(kw_only=True)
class Windows:
    """Which layers use sliding-window attention.

    The config's `layer_types` takes precedence. Without it, every `pattern`-th layer uses full attention.

    Attributes:
        size: Setting with the window size in tokens.
        enabled: Whether the model uses sliding windows.
        pattern: Setting with the period of the pattern; the last layer of each period uses full attention.
        first: Setting with the first layer that has a window, without a pattern; None gives all layers one.
        chunked: Whether windowed layers use chunked attention (`chunked_attention` in `layer_types`).

    """

    size: Key = Key("sliding_window", None)
    enabled: Key | bool = True
    pattern: Key | None = None
    first: Key | None = None
    chunked: bool = False

    def kind(self, settings: Settings, layer: int) -> str:
        """Return the layer's Hugging Face type: `full_attention` or `sliding_attention`."""
        if not settings.flag(self.enabled) or settings.get(self.size) is None:
            return "full_attention"
        kinds = settings.get(Key("layer_types", None))
        if kinds is not None:
            if not isinstance(kinds, list) or len(kinds) <= layer:
                settings.refuse_value(Key("layer_types"), "a list with an entry for each layer")
            windowed = "chunked_attention" if self.chunked else "sliding_attention"
            if kinds[layer] not in ("full_attention", windowed):
                raise settings.refuse("layer_types", kinds[layer])
            return "sliding_attention" if kinds[layer] == windowed else "full_attention"
        if self.pattern is not None:
            full = (layer + 1) % settings.integer(self.pattern) == 0
        else:
            full = self.first is not None and layer < int(settings.get(self.first))
        return "full_attention" if full else "sliding_attention"


@attrs.frozen(kw_only=True)
class SoftmaxAttention:
    """A family's attention settings; None disables an optional feature.

    Attributes:
        qkv_bias: Whether the query, key and value projections have a bias.
        output_bias: Whether the output projection has a bias.
        groups: Setting with the number of key-value heads; None or null means as many as query heads.
        head_size: Setting with the head dimension; if unset, the hidden size divided by the number of heads.
        scale_from: Setting whose inverse square root is the attention scale; None uses the head dimension.
        scale: Setting with the attention scale itself, or its value.
        qk_norm: Normalization of queries and keys.
        windows: Which layers use sliding-window attention.
        rope: Rotary position embedding.
        query_scaling: Function that reads the attention temperature.
        alibi: ALiBi, used instead of RoPE.
        clip: Setting with the bound to which queries, keys and values are clamped.
        cap: Setting with the soft cap of the scores.
        sinks: Whether each head has a trained attention sink.
        gated: Whether a gate multiplies the attention output.
        value_norm: Normalization of values.
        values_are_keys: Setting for whether full-attention layers share the key projection with values.
        borrowing: Setting with the number of final layers that read the KV cache of the last earlier layer of
            the same type (cross-layer KV sharing).
        unrotated: Attention of layers without RoPE, if it differs.

    """

    qkv_bias: Key | bool = False
    output_bias: Key | bool = False
    groups: Key | None = Key("num_key_value_heads", None)
    head_size: Key = Key("head_dim", None)
    scale_from: Key | None = None
    scale: Key | float | None = None
    qk_norm: QkNorms | None = None
    windows: Windows | None = None
    rope: Rope | None = Rope()
    query_scaling: Callable[[Settings], QueryScaling | None] | None = None
    alibi: Alibis | None = None
    clip: Key | None = None
    cap: Key | None = None
    sinks: bool = False
    gated: bool = False
    value_norm: RmsNorm | None = None
    values_are_keys: Key | None = None
    borrowing: Key | None = None
    unrotated: "SoftmaxAttention | None" = None

    def read(self, settings: Settings, layer: int) -> Attention:
        heads = settings.integer(Key("num_attention_heads"))
        groups = settings.integer(self.groups) if self.groups and settings.says(self.groups) else heads
        if self.groups and heads % groups:
            settings.refuse_value(self.groups, f"a divisor of num_attention_heads ({heads})")
        width = settings.integer(Key("hidden_size"))
        head_size = settings.integer(self.head_size) if settings.says(self.head_size) else width // heads
        kind = self.windows.kind(settings, layer) if self.windows else "full_attention"
        rotary = self.rope.of_layer(settings, head_size, kind, layer) if self.rope else None
        if rotary is None and self.unrotated is not None:
            return self.unrotated.read(settings, layer)
        windowed = self.windows if kind == "sliding_attention" else None
        lender, alike = self._lender(settings, layer), self.values_are_keys
        scale = self._scale(settings, head_size)
        alibi = self.alibi.read(settings, heads, scale) if self.alibi else None
        clip = settings.optional(self.clip)
        if clip is not None and self.clip and self.qk_norm:  # the network clips before the norms, OLMoE after
            raise settings.refuse(f"QK-Norm together with {self.clip.name}", clip)
        return Attention(
            heads=heads,
            groups=groups,
            head_size=head_size,
            scale=scale,
            rotary=None if alibi else rotary,
            alibi=alibi,
            query_scaling=self.query_scaling(settings) if self.query_scaling else None,
            window=settings.integer(windowed.size) if windowed else None,
            chunked=windowed is not None and windowed.chunked,
            qkv_bias=settings.flag(self.qkv_bias),
            output_bias=settings.flag(self.output_bias),
            qk_norm=self.qk_norm.read(settings) if self.qk_norm else None,
            clip=clip,
            cap=settings.optional(self.cap),
            sinks=self.sinks,
            gated=self.gated,
            value_norm=self.value_norm.read(settings) if self.value_norm and lender is None else None,
            values_are_keys=bool(alike and windowed is None and settings.flag(alike)),
            lender=lender,
        )

    def _lender(self, settings: Settings, layer: int) -> int | None:
        """Return the layer whose KV cache a layer reads, or None if it has a separate one."""
        if self.borrowing is None or self.windows is None or not settings.get(self.borrowing):
            return None
        layers = settings.integer(Key("num_hidden_layers"))
        kinds = [self.windows.kind(settings, index) for index in range(layers)]
        first = layers - settings.integer(self.borrowing)
        if first < 1 or not {*kinds[first:]} <= {*kinds[:first]}:
            settings.refuse_value(
                self.borrowing, "small enough to leave a layer of each attention type with its own keys"
            )
        if layer < first:
            return None
        return max(index for index in range(first) if kinds[index] == kinds[layer])

    def _scale(self, settings: Settings, head_size: int) -> float:
        if self.scale is not None:
            return settings.number(self.scale)
        size = settings.number(self.scale_from) if self.scale_from else head_size
        return float(size**-0.5)


@attrs.frozen(kw_only=True)
class Latent:
    """A family's settings of multi-head latent attention (MLA)."""

    norm: RmsNorm = RmsNorm(eps=1e-6)
    rope: Rope = Rope(interleaved=Key("rope_interleave", default=True))
    bias: Key | bool = Key("attention_bias", default=False)
    query_size: Key = Key("q_lora_rank", 1536, null=True)

    def read(self, settings: Settings, layer: int) -> LatentAttention:  # noqa: ARG002 - all layers are alike
        plain, rotated = (settings.integer(Key(f"qk_{part}_head_dim")) for part in ("nope", "rope"))
        rotary = self.rope.read(settings, rotated, "full_attention")
        rope = settings.mapping(Key("rope_parameters")) or settings.mapping(Key("rope_scaling"))
        # YaRN's attention factor on cosines and sines does not reach the dimensions without RoPE, so the
        # scores are scaled instead. transformers does this for every type of RoPE scaling.
        factor = getattr(rotary.scaling, "factor", 1.0)
        scale = (plain + rotated) ** -0.5 * yarn_magnitude(factor, rope.get("mscale_all_dim") or 0) ** 2
        return LatentAttention(
            heads=settings.integer(Key("num_attention_heads")),
            plain_size=plain,
            rotary=rotary,
            value_size=settings.integer(Key("v_head_dim")),
            latent_size=settings.integer(Key("kv_lora_rank")),
            query_size=None if settings.get(self.query_size) is None else settings.integer(self.query_size),
            scale=scale,
            norm=self.norm.read(settings),
            bias=settings.flag(self.bias),
        )
