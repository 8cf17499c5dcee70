"""Read RoPE from a config, as written by transformers 5 and by earlier versions."""

import math
from collections.abc import Callable, Mapping

import attrs

from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.model import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RopeScaling,
    RopeSpec,
    YarnScaling,
    yarn_attention_factor,
)


@attrs.frozen(kw_only=True)
class NoPE:
    """Which layers have no position embedding ("NoPE", Kazemnejad et al. 2023, arXiv:2305.19466).

    Attributes:
        rotated_layers: Setting with a list of 1 (RoPE) or 0 (NoPE) for each layer.
        interval: Setting with the period, used without `rotated_layers`; the last layer of each period is
            NoPE.
        layer_type: The layer type that is NoPE; takes precedence over both.
        requires: If this setting is unset, all layers use RoPE.
    """

    rotated_layers: ConfigField | None = None
    interval: ConfigField | None = None
    layer_type: str | None = None
    requires: ConfigField | None = None

    def includes(self, config: HFConfig, layer: int, layer_type: str) -> bool:
        if self.requires is not None and config.get(self.requires) is None:
            return False
        if self.layer_type is not None:
            return layer_type == self.layer_type
        rotated = config.get(self.rotated_layers) if self.rotated_layers else None
        if rotated is not None and self.rotated_layers is not None:
            if not isinstance(rotated, list) or len(rotated) <= layer:
                config.raise_invalid(self.rotated_layers, "a list with an entry for each layer")
            return not rotated[layer]
        return self.interval is not None and (layer + 1) % config.integer(self.interval) == 0


def default_rope_parameters(
    parameters: Mapping[str, object],
) -> Callable[[HFConfig], Mapping[str, object]]:
    """Return a `normalize_config` with the `rope_parameters` of configs that have none."""

    def normalize_config(config: HFConfig) -> Mapping[str, object]:
        has_scaling = config.has_value("rope_parameters") or config.mapping(ConfigField("rope_scaling"))
        return {} if has_scaling else {"rope_parameters": parameters}

    return normalize_config


@attrs.frozen(kw_only=True)
class RopeSchema:
    """A family's RoPE settings.

    Attributes:
        local_theta: Setting with theta of sliding-window layers, in configs without `rope_parameters`.
        partial_rotary_factor: Setting with the rotated fraction of a head; None rotates all dimensions.
        rotary_dim: Setting with the number of rotated dimensions, used instead of `partial_rotary_factor`.
        nope_layers: Which layers have no RoPE; None uses it in all.
        layer_theta: Setting with a list of theta for each layer; layers with 0 have no RoPE.
        clockwise: Whether pairs are rotated by negative angles.
        ntk_alpha: Whether `ntk_alpha` of a dynamic scaling increases theta for all lengths (Hunyuan).
        explicit_attention_factor: Whether the scaling is always LongRoPE with `short_mscale` and
            `long_mscale` (Phi-3.5-MoE).
    """

    theta: ConfigField = ConfigField("rope_theta", 10000.0)
    local_theta: ConfigField | None = None
    partial_rotary_factor: ConfigField | None = None
    rotary_dim: ConfigField | None = None
    interleaved: ConfigField | bool = False
    nope_layers: NoPE | None = None
    layer_theta: ConfigField | None = None
    clockwise: bool = False
    ntk_alpha: bool = False
    explicit_attention_factor: bool = False

    def read_layer(self, config: HFConfig, head_dim: int, layer_type: str, layer: int) -> RopeSpec | None:
        """Return a layer's RoPE, or None if it has no position embedding."""
        if self.nope_layers is not None and self.nope_layers.includes(config, layer, layer_type):
            return None
        rope = self.read(config, head_dim, layer_type)
        if self.layer_theta is None or not config.is_set(self.layer_theta):
            return rope
        thetas = config.get(self.layer_theta)
        if not isinstance(thetas, list) or len(thetas) <= layer:
            config.raise_invalid(self.layer_theta, "a list with an entry for each layer")
        own = attrs.evolve(config, values={self.layer_theta.name: thetas[layer]}, attribute_map={})
        theta = own.number_or_zero(self.layer_theta)
        return attrs.evolve(rope, theta=theta) if theta else None

    def read(self, config: HFConfig, head_dim: int, layer_type: str) -> RopeSpec:
        """Return the RoPE of a layer type, `full_attention` or `sliding_attention`."""
        # transformers 5 writes rope_parameters, keyed by layer type if they differ; older versions write
        # rope_theta and rope_scaling.
        parameters = config.mapping(ConfigField("rope_parameters"))
        base = self.theta
        if parameters:
            parameters = (
                attrs.evolve(config, values=parameters).mapping(ConfigField(layer_type)) or parameters
            )
        elif layer_type == "sliding_attention" and self.local_theta is not None:
            base = self.local_theta  # scaling does not apply to sliding windows
        else:
            parameters = config.mapping(ConfigField("rope_scaling"))
        merged = attrs.evolve(config, values={**config.values, **parameters})
        if _rope_type(parameters) == "proportional":
            return _proportional(merged, head_dim, merged.number(base))
        size = self._rotary_dim(merged, head_dim)
        theta = merged.number(base)
        if self.ntk_alpha and parameters.get("alpha") and _rope_type(parameters) == "dynamic":
            theta *= merged.number(ConfigField("alpha")) ** (size / (size - 2))
            parameters = {}
        extension = parse_rope_scaling(config, parameters, size)
        if self.explicit_attention_factor and extension is not None:
            extension = self._explicit_scaling(config, parameters, extension)
        return RopeSpec(
            rotary_dim=size,
            theta=theta,
            scaling=extension,
            interleaved=config.flag(self.interleaved),
            clockwise=self.clockwise,
        )

    def _explicit_scaling(
        self, config: HFConfig, rope_parameters: Mapping[str, object], scaling: RopeScaling
    ) -> RopeScaling:
        if not isinstance(scaling, LongRopeScaling):
            raise config.unsupported("rope_type", _rope_type(rope_parameters))
        rope_config = attrs.evolve(config, values=rope_parameters)
        short = rope_config.number(ConfigField("short_mscale"))
        long = rope_config.number(ConfigField("long_mscale"))
        return attrs.evolve(scaling, attention_factor=short, long_attention_factor=long)

    def _rotary_dim(self, rope_config: HFConfig, head_dim: int) -> int:
        if self.rotary_dim is not None:
            size = rope_config.integer(self.rotary_dim)
            if size > head_dim or size % 2:
                rope_config.raise_invalid(
                    self.rotary_dim, f"an even number up to {head_dim}, the head dimension"
                )
            return size
        default_key = ConfigField("partial_rotary_factor", 1.0)
        if self.partial_rotary_factor is None and rope_config.number(default_key) != 1:
            raise rope_config.unsupported(default_key.name, rope_config.get(default_key))
        key = self.partial_rotary_factor or default_key
        size = int(head_dim * rope_config.number(key))
        if not 0 < size <= head_dim or size % 2:
            rope_config.raise_invalid(key, f"a fraction of {head_dim} that is an even number of dimensions")
        return size


def _proportional(rope_config: HFConfig, head_dim: int, theta: float) -> RopeSpec:
    """Return RoPE over the whole head with only the highest frequencies rotated (Gemma 4)."""
    share, factor = (
        rope_config.number(ConfigField("partial_rotary_factor", 1.0)),
        rope_config.number(ConfigField("factor", 1.0)),
    )
    turning = int(share * head_dim // 2)
    if not 0 < turning <= head_dim // 2:
        rope_config.raise_invalid(
            ConfigField("partial_rotary_factor"), "a fraction that rotates at least one pair of a head"
        )
    return RopeSpec(
        rotary_dim=head_dim,
        theta=theta,
        scaling=None if factor == 1 else LinearScaling(factor=factor),
        num_rotated_pairs=None if turning == head_dim // 2 else turning,
    )


def parse_rope_scaling(
    config: HFConfig, rope_parameters: Mapping[str, object], rotary_dim: int
) -> RopeScaling | None:
    """Return the context extension in `rope_parameters` or `rope_scaling` of a config, if any."""
    rope_config = attrs.evolve(config, values=rope_parameters, attribute_map={})
    match kind := _rope_type(rope_parameters):
        case "default" | "mrope":  # for text tokens, mrope equals standard RoPE
            return None
        case "linear":
            return LinearScaling(factor=rope_config.number(ConfigField("factor")))
        case "llama3":
            return Llama3Scaling(
                factor=rope_config.number(ConfigField("factor")),
                low_freq_factor=rope_config.number(ConfigField("low_freq_factor")),
                high_freq_factor=rope_config.number(ConfigField("high_freq_factor")),
                original_max_position=_original_max_position(config, rope_config),
            )
        case "dynamic":
            return DynamicScaling(
                factor=rope_config.number(ConfigField("factor")),
                original_max_position=config.integer(ConfigField("max_position_embeddings")),
            )
        case "yarn":
            return _yarn(config, rope_config)
        case "longrope" | "su":  # Phi-3's first configs use the name "su"
            return _longrope(config, rope_config, rotary_dim)
        case _:
            raise config.unsupported("rope_type", kind)


def _rope_type(rope_parameters: Mapping[str, object]) -> object:
    """Return the `rope_type`, which older configs call `type`."""
    return rope_parameters.get("rope_type") or rope_parameters.get("type") or "default"


def _original_max_position(config: HFConfig, rope_config: HFConfig) -> int:
    name = "original_max_position_embeddings"
    context = config.get(ConfigField("max_position_embeddings"))
    return config.integer(ConfigField(name, rope_config.get(ConfigField(name, context))))


def _yarn(config: HFConfig, rope_config: HFConfig) -> YarnScaling:
    original = _original_max_position(config, rope_config)
    context = config.integer(ConfigField("max_position_embeddings"))
    factor = rope_config.number(ConfigField("factor", context / original))
    magnitude = rope_config.optional(ConfigField("attention_factor", None))
    if magnitude is None:
        mscale, all_dim = (
            rope_config.get(ConfigField("mscale", None)),
            rope_config.get(ConfigField("mscale_all_dim", None)),
        )
        if mscale and all_dim:
            magnitude = yarn_attention_factor(factor, mscale) / yarn_attention_factor(factor, all_dim)
        else:
            magnitude = yarn_attention_factor(factor)
    return YarnScaling(
        factor=factor,
        original_max_position=original,
        beta_fast=rope_config.number(ConfigField("beta_fast", 32.0)),
        beta_slow=rope_config.number(ConfigField("beta_slow", 1.0)),
        truncate=rope_config.flag(ConfigField("truncate", default=True)),
        attention_factor=magnitude,
    )


def _longrope(config: HFConfig, rope_config: HFConfig, rotary_dim: int) -> LongRopeScaling:
    original = _original_max_position(config, rope_config)
    context = config.integer(ConfigField("max_position_embeddings"))
    factor = rope_config.number(ConfigField("factor", context / original))
    magnitude = rope_config.optional(ConfigField("attention_factor", None))
    if magnitude is None:
        magnitude = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    short, long = (
        rope_config.numbers(ConfigField("short_factor")),
        rope_config.numbers(ConfigField("long_factor")),
    )
    for name, factors in (("short_factor", short), ("long_factor", long)):
        if len(factors) != rotary_dim // 2:
            rope_config.raise_invalid(
                ConfigField(name), f"a list of {rotary_dim // 2} numbers, one for each rotated pair"
            )
    return LongRopeScaling(
        short_factor=short, long_factor=long, original_max_position=original, attention_factor=magnitude
    )


def max_scaled_length(rope: RopeSpec | None) -> int:
    """Return the extended context length of YaRN or dynamic NTK, in tokens; 0 for other types."""
    match rope and rope.scaling:
        case YarnScaling(factor=factor, original_max_position=original):
            return round(factor * original)
        case DynamicScaling(factor=factor, original_max_position=original):
            return round(factor * original)
        case _:
            return 0
