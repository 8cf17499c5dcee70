"""Read RoPE from a config, as written by transformers 5 and by earlier versions."""

import math
from collections.abc import Mapping

import attrs

from litgpt.domain.architecture import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    Rotary,
    Scaling,
    YarnScaling,
    yarn_magnitude,
)
from litgpt.domain.families.settings import Key, Settings


@attrs.frozen(kw_only=True)
class Unrotated:
    """Which layers have no position embedding ("NoPE", Kazemnejad et al. 2023, arXiv:2305.19466).

    Attributes:
        listed: Setting with a list of 1 (RoPE) or 0 (NoPE) for each layer.
        every: Setting with the period, used without `listed`; the last layer of each period is NoPE.
        kind: The layer type that is NoPE; takes precedence over both.
        only_with: If this setting is unset, all layers use RoPE.

    """

    listed: Key | None = None
    every: Key | None = None
    kind: str | None = None
    only_with: Key | None = None

    def has(self, settings: Settings, layer: int, kind: str) -> bool:
        """Return whether a layer has no position embedding."""
        if self.only_with is not None and settings.get(self.only_with) is None:
            return False
        if self.kind is not None:
            return kind == self.kind
        rotated = settings.get(self.listed) if self.listed else None
        if rotated is not None and self.listed is not None:
            if not isinstance(rotated, list) or len(rotated) <= layer:
                settings.refuse_value(self.listed, "a list with an entry for each layer")
            return not rotated[layer]
        return self.every is not None and (layer + 1) % settings.integer(self.every) == 0


@attrs.frozen(kw_only=True)
class Rope:
    """A family's RoPE settings.

    Attributes:
        base: Setting with theta.
        local_base: Setting with theta of sliding-window layers, in configs without `rope_parameters`.
        partial: Setting with the rotated fraction of a head; None rotates all dimensions.
        rotated: Setting with the number of rotated dimensions, used instead of `partial`.
        interleaved: Whether pairs are adjacent dimensions.
        unrotated: Which layers have no RoPE; None uses it in all.
        alpha: Whether `alpha` of a dynamic scaling increases theta for all lengths (Hunyuan).
        magnitudes: Whether the scaling is always LongRoPE with `short_mscale` and `long_mscale`
            (Phi-3.5-MoE).

    """

    base: Key = Key("rope_theta", 10000.0)
    local_base: Key | None = None
    partial: Key | None = None
    rotated: Key | None = None
    interleaved: Key | bool = False
    unrotated: Unrotated | None = None
    alpha: bool = False
    magnitudes: bool = False

    def of_layer(self, settings: Settings, head_size: int, kind: str, layer: int) -> Rotary | None:
        """Return a layer's RoPE, or None if it has no position embedding."""
        if self.unrotated is not None and self.unrotated.has(settings, layer, kind):
            return None
        return self.read(settings, head_size, kind)

    def read(self, settings: Settings, head_size: int, kind: str) -> Rotary:
        """Return the RoPE of a layer type, `full_attention` or `sliding_attention`."""
        # transformers 5 writes rope_parameters, keyed by layer type if they differ; older versions write
        # rope_theta and rope_scaling.
        parameters = settings.mapping(Key("rope_parameters"))
        base = self.base
        if parameters:
            parameters = attrs.evolve(settings, values=parameters).mapping(Key(kind)) or parameters
        elif kind == "sliding_attention" and self.local_base is not None:
            base = self.local_base  # scaling does not apply to sliding windows
        else:
            parameters = settings.mapping(Key("rope_scaling"))
        merged = attrs.evolve(settings, values={**settings.values, **parameters})
        if _kind(parameters) == "proportional":
            return _proportional(merged, head_size, merged.number(base))
        size = self._size(merged, head_size)
        theta = merged.number(base)
        if self.alpha and parameters.get("alpha") and _kind(parameters) == "dynamic":
            theta *= merged.number(Key("alpha")) ** (size / (size - 2))
            parameters = {}
        extension = scaling(settings, parameters, size)
        if self.magnitudes and extension is not None:
            extension = self._said(settings, parameters, extension)
        return Rotary(size=size, base=theta, scaling=extension, interleaved=settings.flag(self.interleaved))

    def _said(self, settings: Settings, given: Mapping[str, object], stretched: Scaling) -> Scaling:
        if not isinstance(stretched, LongRopeScaling):
            raise settings.refuse("rope_type", _kind(given))
        config = attrs.evolve(settings, values=given)
        short, long = config.number(Key("short_mscale")), config.number(Key("long_mscale"))
        return attrs.evolve(stretched, magnitude=short, long_magnitude=long)

    def _size(self, said: Settings, head_size: int) -> int:
        if self.rotated is not None:
            size = said.integer(self.rotated)
            if size > head_size or size % 2:
                said.refuse_value(self.rotated, f"an even number up to {head_size}, the head dimension")
            return size
        whole = Key("partial_rotary_factor", 1.0)
        if self.partial is None and said.number(whole) != 1:
            raise said.refuse(whole.name, said.get(whole))
        key = self.partial or whole
        size = int(head_size * said.number(key))
        if not 0 < size <= head_size or size % 2:
            said.refuse_value(key, f"a fraction of {head_size} that is an even number of dimensions")
        return size


def _proportional(said: Settings, head_size: int, base: float) -> Rotary:
    """Return RoPE over the whole head with only the highest frequencies rotated (Gemma 4)."""
    share, factor = said.number(Key("partial_rotary_factor", 1.0)), said.number(Key("factor", 1.0))
    turning = int(share * head_size // 2)
    if not 0 < turning <= head_size // 2:
        said.refuse_value(Key("partial_rotary_factor"), "a fraction that rotates at least one pair of a head")
    return Rotary(
        size=head_size,
        base=base,
        scaling=None if factor == 1 else LinearScaling(factor=factor),
        turning=None if turning == head_size // 2 else turning,
    )


def scaling(settings: Settings, given: Mapping[str, object], size: int) -> Scaling | None:
    """Return the context extension of RoPE, if any.

    Args:
        settings: The whole config.
        given: Its `rope_parameters` or `rope_scaling`.
        size: Number of rotated dimensions of a head.

    """
    config = attrs.evolve(settings, values=given, called={})
    match kind := _kind(given):
        case "default" | "mrope":  # for text tokens, mrope equals standard RoPE
            return None
        case "linear":
            return LinearScaling(factor=config.number(Key("factor")))
        case "llama3":
            return Llama3Scaling(
                factor=config.number(Key("factor")),
                low_freq_factor=config.number(Key("low_freq_factor")),
                high_freq_factor=config.number(Key("high_freq_factor")),
                original_context=_original(settings, config),
            )
        case "dynamic":
            return DynamicScaling(
                factor=config.number(Key("factor")),
                original_context=settings.integer(Key("max_position_embeddings")),
            )
        case "yarn":
            return _yarn(settings, config)
        case "longrope" | "su":  # Phi-3's first configs use the name "su"
            return _longrope(settings, config, size)
        case _:
            raise settings.refuse("rope_type", kind)


def _kind(given: Mapping[str, object]) -> object:
    """Return the `rope_type`, which older configs call `type`."""
    return given.get("rope_type") or given.get("type") or "default"


def _original(settings: Settings, said: Settings) -> int:
    name = "original_max_position_embeddings"
    context = settings.get(Key("max_position_embeddings"))
    return settings.integer(Key(name, said.get(Key(name, context))))


def _yarn(settings: Settings, said: Settings) -> YarnScaling:
    original = _original(settings, said)
    context = settings.integer(Key("max_position_embeddings"))
    factor = said.number(Key("factor", context / original))
    magnitude = said.optional(Key("attention_factor", None))
    if magnitude is None:
        mscale, all_dim = said.get(Key("mscale", None)), said.get(Key("mscale_all_dim", None))
        if mscale and all_dim:
            magnitude = yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all_dim)
        else:
            magnitude = yarn_magnitude(factor)
    return YarnScaling(
        factor=factor,
        original_context=original,
        beta_fast=said.number(Key("beta_fast", 32.0)),
        beta_slow=said.number(Key("beta_slow", 1.0)),
        truncate=said.flag(Key("truncate", default=True)),
        magnitude=magnitude,
    )


def _longrope(settings: Settings, said: Settings, size: int) -> LongRopeScaling:
    original = _original(settings, said)
    context = settings.integer(Key("max_position_embeddings"))
    factor = said.number(Key("factor", context / original))
    magnitude = said.optional(Key("attention_factor", None))
    if magnitude is None:
        magnitude = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    short, long = said.numbers(Key("short_factor")), said.numbers(Key("long_factor"))
    for name, factors in (("short_factor", short), ("long_factor", long)):
        if len(factors) != size // 2:
            said.refuse_value(Key(name), f"a list of {size // 2} numbers, one for each rotated pair")
    return LongRopeScaling(short=short, long=long, original_context=original, magnitude=magnitude)


def longest(rotary: Rotary | None) -> int:
    """Return the extended context length of YaRN or dynamic NTK, in tokens; 0 for other types."""
    match rotary and rotary.scaling:
        case YarnScaling(factor=factor, original_context=original):
            return round(factor * original)
        case DynamicScaling(factor=factor, original_context=original):
            return round(factor * original)
        case _:
            return 0
