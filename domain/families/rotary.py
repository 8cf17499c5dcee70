"""How rotary embedding is read from a config, in the words of transformers 5 and in those before."""

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
    """Which layers have no positions at all ("NoPE", Kazemnejad et al. 2023, arXiv:2305.19466).

    Attributes:
        listed: The setting with a 1 for each layer that is rotated and a 0 for one that is not.
        every: Without it, the setting with the number of layers of which the last is not rotated.
        kind: The kind of layer that is not rotated, where that decides.
        only_with: The setting without which all are rotated.

    """

    listed: Key | None = None
    every: Key | None = None
    kind: str | None = None
    only_with: Key | None = None

    def has(self, settings: Settings, layer: int, kind: str) -> bool:
        """Whether a layer is one of them."""
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
    """How a family writes its rotary embedding.

    Attributes:
        base: The setting with the base.
        local_base: That of windowed layers, in configs older than `rope_parameters`.
        partial: The setting that says which share of a head is rotated; None rotates all of it.
        rotated: The setting that says how many numbers of a head that is, where it is not told as a share.
        interleaved: Whether neighbours are a pair.
        unrotated: Which layers have none; None: all have it.
        alpha: Whether `alpha` in a dynamic scaling makes the base grow once and for all (Hunyuan).
        magnitudes: Whether any scaling is LongRoPE, and says its magnitudes itself (Phi-3.5-MoE).

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
        """Return the rotary embedding of a layer, or None if it has no positions."""
        if self.unrotated is not None and self.unrotated.has(settings, layer, kind):
            return None
        return self.read(settings, head_size, kind)

    def read(self, settings: Settings, head_size: int, kind: str) -> Rotary:
        """Return the rotary embedding of a layer of a kind, `full_attention` or `sliding_attention`."""
        # transformers 5 writes rope_parameters, by kind of layer where the kinds differ; older files write
        # rope_theta and rope_scaling beside each other.
        given = settings.mapping(Key("rope_parameters"))
        base = self.base
        if given:
            given = attrs.evolve(settings, values=given).mapping(Key(kind)) or given
        elif kind == "sliding_attention" and self.local_base is not None:
            base = self.local_base  # windows are short: they were never stretched
        else:
            given = settings.mapping(Key("rope_scaling"))
        said = attrs.evolve(settings, values={**settings.values, **given})
        if _kind(given) == "proportional":
            return _proportional(said, head_size, said.number(base))
        size = self._size(said, head_size)
        theta = said.number(base)
        if self.alpha and given.get("alpha") and _kind(given) == "dynamic":
            theta *= said.number(Key("alpha")) ** (size / (size - 2))
            given = {}
        stretched = scaling(settings, given, size)
        if self.magnitudes and stretched is not None:
            stretched = self._said(settings, given, stretched)
        return Rotary(size=size, base=theta, scaling=stretched, interleaved=settings.flag(self.interleaved))

    def _said(self, settings: Settings, given: Mapping[str, object], stretched: Scaling) -> Scaling:
        if not isinstance(stretched, LongRopeScaling):
            raise settings.refuse("rope_type", _kind(given))
        said = attrs.evolve(settings, values=given)
        short, long = said.number(Key("short_mscale")), said.number(Key("long_mscale"))
        return attrs.evolve(stretched, magnitude=short, long_magnitude=long)

    def _size(self, said: Settings, head_size: int) -> int:
        if self.rotated is not None:
            size = said.integer(self.rotated)
            if size > head_size or size % 2:
                said.refuse_value(self.rotated, f"an even number of a head's {head_size}")
            return size
        whole = Key("partial_rotary_factor", 1.0)
        if self.partial is None and said.number(whole) != 1:
            raise said.refuse(whole.name, said.get(whole))
        key = self.partial or whole
        size = int(head_size * said.number(key))
        if not 0 < size <= head_size or size % 2:
            said.refuse_value(key, f"a share of {head_size} that is an even number")
        return size


def _proportional(said: Settings, head_size: int, base: float) -> Rotary:
    """Return a rotation of whole heads of which only the fastest pairs turn (Gemma 4)."""
    share, factor = said.number(Key("partial_rotary_factor", 1.0)), said.number(Key("factor", 1.0))
    turning = int(share * head_size // 2)
    if not 0 < turning <= head_size // 2:
        said.refuse_value(Key("partial_rotary_factor"), "a share of a head of which a pair turns")
    return Rotary(
        size=head_size,
        base=base,
        scaling=None if factor == 1 else LinearScaling(factor=factor),
        turning=None if turning == head_size // 2 else turning,
    )


def scaling(settings: Settings, given: Mapping[str, object], size: int) -> Scaling | None:
    """Return how positions were stretched.

    Args:
        settings: The whole config.
        given: What it says of the scaling.
        size: How many numbers of a head are rotated.

    """
    said = attrs.evolve(settings, values=given, called={})
    match kind := _kind(given):
        case "default" | "mrope":  # mrope turns text by plain positions; only pictures have others
            return None
        case "linear":
            return LinearScaling(factor=said.number(Key("factor")))
        case "llama3":
            return Llama3Scaling(
                factor=said.number(Key("factor")),
                low_freq_factor=said.number(Key("low_freq_factor")),
                high_freq_factor=said.number(Key("high_freq_factor")),
                original_context=_original(settings, said),
            )
        case "dynamic":
            return DynamicScaling(
                factor=said.number(Key("factor")),
                original_context=settings.integer(Key("max_position_embeddings")),
            )
        case "yarn":
            return _yarn(settings, said)
        case "longrope" | "su":  # the latter is what Phi-3's first files called it
            return _longrope(settings, said, size)
        case _:
            raise settings.refuse("rope_type", kind)


def _kind(given: Mapping[str, object]) -> object:
    """Return what the scaling is called: older files call the setting `type`."""
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
        one, all_dim = said.get(Key("mscale", None)), said.get(Key("mscale_all_dim", None))
        if one and all_dim:
            magnitude = yarn_magnitude(factor, one) / yarn_magnitude(factor, all_dim)
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
            said.refuse_value(Key(name), f"a list of {size // 2} numbers, one for each pair that is rotated")
    return LongRopeScaling(short=short, long=long, original_context=original, magnitude=magnitude)


def longest(rotary: Rotary | None) -> int:
    """Return how long a text positions were stretched for; 0 if they were not, or it is not said here."""
    match rotary and rotary.scaling:
        case YarnScaling(factor=factor, original_context=original):
            return round(factor * original)
        case DynamicScaling(factor=factor, original_context=original):
            return round(factor * original)
        case _:
            return 0
