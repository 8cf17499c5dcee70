"""Read attention layers from a config."""

from collections.abc import Callable

import attrs

from litgpt.domain.families.schema.alibi import AlibiSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.model import (
    AttentionSpec,
    AttentionTemperature,
    IndexerSpec,
    MLASpec,
    NormSpec,
    RopeSpec,
    yarn_attention_factor,
)


@attrs.frozen(kw_only=True)
class SlidingWindowSchema:
    """Which layers use sliding-window attention.

    The config's `layer_types` takes precedence. Without it, every `pattern`-th layer uses full attention.

    Attributes:
        size: Setting with the window size in tokens.
        pattern: The period of the pattern, or its setting; the last layer of each period uses full attention.
        full_first: Whether the first layer of each period uses full attention instead of the last.
        num_full_layers: Setting with the first layer that has a window, without a pattern; None gives all
            layers one.
        chunked: Whether windowed layers use chunked attention (`chunked_attention` in `layer_types`).
    """

    size: ConfigField = ConfigField("sliding_window", None)
    enabled: ConfigField | bool = True
    pattern: ConfigField | int | None = None
    full_first: bool = False
    num_full_layers: ConfigField | None = None
    chunked: bool = False

    def layer_type(self, config: HFConfig, layer: int) -> str:
        """Return the layer's Hugging Face type: `full_attention` or `sliding_attention`."""
        if not config.flag(self.enabled) or config.get(self.size) is None:
            return "full_attention"
        kinds = config.get(ConfigField("layer_types", None))
        if kinds is not None:
            if not isinstance(kinds, list) or len(kinds) <= layer:
                config.raise_invalid(ConfigField("layer_types"), "a list with an entry for each layer")
            windowed = "chunked_attention" if self.chunked else "sliding_attention"
            if kinds[layer] not in ("full_attention", windowed):
                raise config.unsupported("layer_types", kinds[layer])
            return "sliding_attention" if kinds[layer] == windowed else "full_attention"
        if self.pattern is not None:
            period = self.pattern if isinstance(self.pattern, int) else config.integer(self.pattern)
            full = (layer if self.full_first else layer + 1) % period == 0
        else:
            full = self.num_full_layers is not None and layer < int(config.get(self.num_full_layers))
        return "full_attention" if full else "sliding_attention"


@attrs.frozen(kw_only=True)
class AttentionSchema:
    """A family's attention settings, from which `AttentionSpec` is read; None disables an optional feature.

    Attributes:
        num_kv_heads: Setting with the number of key-value heads; None or null means as many as query heads.
        head_dim: Setting with the head dimension; if unset, the hidden size divided by the number of heads.
        scale_from: Setting whose inverse square root is the attention scale; None uses the head dimension.
        scale: Setting with the attention scale itself, or its value.
        attention_sinks: Whether the heads have sinks, or the type of the layers whose heads have.
        num_kv_shared_layers: Setting with the number of final layers that read the KV cache of the last
            earlier layer of the same type (cross-layer KV sharing).
        nope_layers: Attention of layers without RoPE, if it differs.
    """

    qkv_bias: ConfigField | bool = False
    output_bias: ConfigField | bool = False
    num_kv_heads: ConfigField | None = ConfigField("num_key_value_heads", None)
    head_dim: ConfigField = ConfigField("head_dim", None)
    scale_from: ConfigField | None = None
    scale: ConfigField | float | None = None
    qk_norm: QkNormSchema | None = None
    sliding_window: SlidingWindowSchema | None = None
    rope: RopeSchema | None = RopeSchema()
    attention_temperature: Callable[[HFConfig], AttentionTemperature | None] | None = None
    alibi: AlibiSchema | None = None
    clip_qkv: ConfigField | None = None
    attn_logit_softcap: ConfigField | None = None
    attention_sinks: bool | str = False
    v_head_dim: ConfigField | None = None
    value_scale: ConfigField | float = 1.0
    output_gate: bool = False
    head_gate: ConfigField | bool = False
    value_norm: RMSNormSchema | None = None
    shared_kv_projection: ConfigField | None = None
    num_kv_shared_layers: ConfigField | None = None
    nope_layers: "AttentionSchema | None" = None

    def read(self, config: HFConfig, layer: int) -> AttentionSpec:
        heads = config.integer(ConfigField("num_attention_heads"))
        groups = (
            config.integer(self.num_kv_heads)
            if self.num_kv_heads and config.is_set(self.num_kv_heads)
            else heads
        )
        if self.num_kv_heads and heads % groups:
            config.raise_invalid(self.num_kv_heads, f"a divisor of num_attention_heads ({heads})")
        width = config.integer(ConfigField("hidden_size"))
        head_size = config.integer(self.head_dim) if config.is_set(self.head_dim) else width // heads
        kind = self.sliding_window.layer_type(config, layer) if self.sliding_window else "full_attention"
        rotary = self.rope.read_layer(config, head_size, kind, layer) if self.rope else None
        if rotary is None and self.nope_layers is not None:
            return self.nope_layers.read(config, layer)
        windowed = self.sliding_window if kind == "sliding_attention" else None
        lender, alike = self._kv_shared_layer(config, layer), self.shared_kv_projection
        scale = self._scale(config, head_size)
        alibi = self.alibi.read(config, heads, scale) if self.alibi else None
        clip = config.optional(self.clip_qkv)
        if clip is not None and self.clip_qkv and self.qk_norm and self.qk_norm.after_rope:
            raise config.unsupported(f"QK-Norm after RoPE together with {self.clip_qkv.name}", clip)
        return AttentionSpec(
            num_heads=heads,
            num_kv_heads=groups,
            head_dim=head_size,
            scale=scale,
            rope=None if alibi else rotary,
            alibi=alibi,
            attention_temperature=self.attention_temperature(config) if self.attention_temperature else None,
            sliding_window=config.integer(windowed.size) if windowed else None,
            chunked=windowed is not None and windowed.chunked,
            qkv_bias=config.flag(self.qkv_bias),
            output_bias=config.flag(self.output_bias),
            qk_norm=self.qk_norm.read(config) if self.qk_norm else None,
            clip_qkv=clip,
            attn_logit_softcap=config.optional(self.attn_logit_softcap),
            attention_sinks=self.attention_sinks in (True, kind),
            v_head_dim=config.integer(self.v_head_dim) if self.v_head_dim else None,
            value_scale=config.number(self.value_scale),
            output_gate=self.output_gate,
            head_gate=config.flag(self.head_gate),
            value_norm=self.value_norm.read(config) if self.value_norm and lender is None else None,
            shared_kv_projection=bool(alike and windowed is None and config.flag(alike)),
            kv_shared_layer=lender,
        )

    def _kv_shared_layer(self, config: HFConfig, layer: int) -> int | None:
        """Return the layer whose KV cache a layer reads, or None if it has a separate one."""
        if (
            self.num_kv_shared_layers is None
            or self.sliding_window is None
            or not config.get(self.num_kv_shared_layers)
        ):
            return None
        layers = config.integer(ConfigField("num_hidden_layers"))
        kinds = [self.sliding_window.layer_type(config, index) for index in range(layers)]
        first = layers - config.integer(self.num_kv_shared_layers)
        if first < 1 or not {*kinds[first:]} <= {*kinds[:first]}:
            config.raise_invalid(
                self.num_kv_shared_layers,
                "small enough to leave a layer of each attention type with its own keys",
            )
        if layer < first:
            return None
        return max(index for index in range(first) if kinds[index] == kinds[layer])

    def _scale(self, config: HFConfig, head_dim: int) -> float:
        if (scale := config.optional(self.scale)) is not None:
            return scale
        size = config.number(self.scale_from) if self.scale_from else head_dim
        return float(size**-0.5)


@attrs.frozen(kw_only=True)
class IndexerSchema:
    """A family's settings of the lightning indexer.

    Attributes:
        kinds: Setting with a list of `full` or `shared` for each layer; a `shared` layer uses the selection
            of the last `full` layer before it. None gives each layer an indexer.
    """

    num_heads: ConfigField
    interleaved: bool
    head_dim: ConfigField = ConfigField("index_head_dim", 128)
    top_k: ConfigField = ConfigField("index_topk", 2048)
    kinds: ConfigField | None = None

    def read(self, config: HFConfig, layer: int, rope: RopeSpec) -> tuple[IndexerSpec | None, int | None]:
        """Return a layer's indexer, or None and the layer whose selection it uses."""
        kinds = config.get(self.kinds) if self.kinds else None
        if kinds is not None and self.kinds is not None:
            listed = isinstance(kinds, list) and len(kinds) > layer
            if not listed or any(kind not in ("full", "shared") for kind in kinds):
                config.raise_invalid(self.kinds, "a list with 'full' or 'shared' for each layer")
            if kinds[layer] == "shared":
                if "full" not in kinds[:layer]:
                    config.raise_invalid(self.kinds, "a list whose first entry is 'full'")
                return None, max(index for index in range(layer) if kinds[index] == "full")
        if config.integer(self.head_dim) < rope.rotary_dim:
            config.raise_invalid(self.head_dim, f"at least qk_rope_head_dim ({rope.rotary_dim})")
        return IndexerSpec(
            num_heads=config.integer(self.num_heads),
            head_dim=config.integer(self.head_dim),
            top_k=config.integer(self.top_k),
            interleaved=self.interleaved,
            norm=NormSpec(kind="layer", eps=1e-6, bias=True),
        ), None


@attrs.frozen(kw_only=True)
class MLASchema:
    """A family's settings of multi-head latent attention (MLA).

    `scaled_latents` multiplies both latents by the square root of the hidden size over their dimension.
    """

    norm: RMSNormSchema = RMSNormSchema(eps=1e-6)
    rope: RopeSchema = RopeSchema(interleaved=ConfigField("rope_interleave", default=True))
    bias: ConfigField | bool = ConfigField("attention_bias", default=False)
    q_lora_rank: ConfigField = ConfigField("q_lora_rank", 1536, nullable=True)
    attention_temperature: Callable[[HFConfig], AttentionTemperature | None] | None = None
    indexer: IndexerSchema | None = None
    scaled_latents: bool = False
    output_gate: bool = False
    rotated: bool = True
    head_gate: bool = False

    def read(self, config: HFConfig, layer: int) -> MLASpec:
        plain, rotated = (config.integer(ConfigField(f"qk_{part}_head_dim")) for part in ("nope", "rope"))
        rotary = self.rope.read(config, rotated, "full_attention")
        rope = config.mapping(ConfigField("rope_parameters")) or config.mapping(ConfigField("rope_scaling"))
        # YaRN's attention factor on cosines and sines does not reach the dimensions without RoPE, so the
        # scores are scaled instead. transformers does this for every type of RoPE scaling.
        factor = getattr(rotary.scaling, "factor", 1.0)
        scale = (plain + rotated) ** -0.5 * yarn_attention_factor(
            factor, rope.get("mscale_all_dim") or 0
        ) ** 2
        rank, latent_scale = config.integer(ConfigField("kv_lora_rank")), 1.0
        if self.scaled_latents:
            width = config.integer(ConfigField("hidden_size"))
            scale *= (width / config.integer(self.q_lora_rank)) ** 0.5
            latent_scale = (width / rank) ** 0.5
        indexer, indexer_layer = self.indexer.read(config, layer, rotary) if self.indexer else (None, None)
        if self.indexer is not None and config.get(self.q_lora_rank) is None:
            config.raise_invalid(self.q_lora_rank, "a positive integer")
        return MLASpec(
            num_heads=config.integer(ConfigField("num_attention_heads")),
            qk_nope_head_dim=plain,
            rope=rotary,
            v_head_dim=config.integer(ConfigField("v_head_dim")),
            kv_lora_rank=rank,
            q_lora_rank=None if config.get(self.q_lora_rank) is None else config.integer(self.q_lora_rank),
            scale=scale,
            norm=self.norm.read(config),
            bias=config.flag(self.bias),
            attention_temperature=self.attention_temperature(config) if self.attention_temperature else None,
            output_gate=self.output_gate,
            latent_scale=latent_scale,
            indexer=indexer,
            indexer_layer=indexer_layer,
            rotated=self.rotated,
            head_gate=self.head_gate,
        )
