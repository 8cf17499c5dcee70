"""An architecture in LitGPT's settings: what `model_config.yaml` says of it, or what it cannot say.

What is said is read back, and has to mean the same architecture: nothing is left out unnoticed, not even
what this file does not know of.
"""

from collections.abc import Iterable, Iterator
from typing import NoReturn, TypeVar

import attrs

from litgpt.adapters.checkpoints.litgpt_dialect import to_config
from litgpt.adapters.checkpoints.litgpt_feeds import feed_settings
from litgpt.adapters.checkpoints.litgpt_rotary import rope_settings
from litgpt.adapters.checkpoints.litgpt_settings import DEFAULTS
from litgpt.domain.architecture import Architecture, Attention, LatentAttention, Norm
from litgpt.domain.errors import UnsupportedModel
from litgpt.domain.families import describe

T = TypeVar("T")

SETTINGS = "model_config.yaml"
_ROUNDING = 1e-9
"""How much a scale may change, relatively, on its way through the number whose root it divides by."""


def litgpt_settings_of(architecture: Architecture, name: str) -> dict[str, object]:
    """Return what `model_config.yaml` says of an architecture: a value for each of LitGPT's settings.

    Args:
        architecture: The architecture.
        name: What to call the model. It is changed where LitGPT would compute something else by it.

    Raises:
        UnsupportedModel: LitGPT 0.5.13 cannot express it; the error says what stands in the way.

    """
    try:
        settings = {**DEFAULTS, **_said(architecture)}
        settings["name"] = _named(name, _norm(architecture))
        settings["hf_config"] = {"name": settings["name"], "org": ""}
        _check(architecture, settings)
    except ValueError as error:
        reason = f"{error}, and LitGPT's {SETTINGS} cannot say that."
        raise UnsupportedModel(f"{name}, written for LitGPT 0.5.13,", reason) from error
    return settings


def _said(architecture: Architecture) -> dict[str, object]:
    if architecture.embedding_scale not in (None, architecture.width**0.5):
        _cannot(f"its embedding is multiplied by {architecture.embedding_scale}")
    norm = _norm(architecture)
    feeds = feed_settings([layer.feed_forward for layer in architecture.layers])
    if feeds["mlp_class_name"] == "GemmaMLP" and not norm.unit_offset:
        _cannot("its feed-forward is gated by GELU and its norms do not count from 1 as Gemma's do")
    return {
        "block_size": architecture.context,
        "n_layer": len(architecture.layers),
        "n_embd": architecture.width,
        "vocab_size": architecture.vocab_size,
        "padded_vocab_size": architecture.vocab_size,
        "norm_class_name": "RMSNorm" if norm.kind == "rms" else "LayerNorm",
        "norm_eps": norm.eps,
        "scale_embeddings": architecture.embedding_scale is not None,
        "lm_head_bias": architecture.head_bias,
        "final_logit_softcapping": architecture.logit_cap,
        **_residual(architecture),
        **_mixers(architecture),
        **feeds,
    } | _biases(architecture)


def _norm(architecture: Architecture) -> Norm:
    """Return the norm that all places have."""
    if architecture.final_norm is None:
        _cannot("it has no norm before its head")
    norms = [architecture.final_norm]
    for layer in architecture.layers:
        norms += [one for one in _norms_of(layer.mixer) if one is not None]
        for norm in (layer.norm_1, layer.norm_2, layer.post_mixer_norm, layer.post_mlp_norm):
            norms += [norm] if norm else []
    return _one("norms", norms)


def _norms_of(mixer: object) -> Iterator[Norm | None]:
    if isinstance(mixer, Attention) and mixer.qk_norm:
        yield mixer.qk_norm.norm
    if isinstance(mixer, LatentAttention):
        yield mixer.norm


def _residual(architecture: Architecture) -> dict[str, object]:
    layers = architecture.layers
    parallel = _one("places of the feed-forward", (layer.parallel for layer in layers))
    second = _one("norms before the feed-forward", (layer.norm_2 is not None for layer in layers))
    return {
        "norm_1": _one("norms before attention", (layer.norm_1 is not None for layer in layers)),
        # Side by side, one norm serves both; one after the other, there is none.
        "norm_2": second or parallel,
        "shared_attention_norm": parallel and not second,
        "parallel_residual": parallel,
        "post_attention_norm": _one(
            "norms after attention", (layer.post_mixer_norm is not None for layer in layers)
        ),
        "post_mlp_norm": _one(
            "norms after the feed-forward", (layer.post_mlp_norm is not None for layer in layers)
        ),
    }


def _mixers(architecture: Architecture) -> dict[str, object]:
    every = [layer.mixer for layer in architecture.layers]
    kind = _one("kinds of attention", map(_kind_of_attention, every))
    mixers = [mixer for mixer in every if isinstance(mixer, (Attention, LatentAttention))]
    rotated = [mixer.rotary for mixer in mixers if mixer.rotary is not None]
    if len(rotated) < len(mixers):
        _cannot("some of its layers have no rotary positions")
    heads, groups, size, scale = _one(
        "shapes of attention", ((one.heads, one.groups, one.head_size, one.scale) for one in mixers)
    )
    windows = {mixer.window for mixer in mixers} - {None}
    window = _one("windows", windows) if windows else None
    said: dict[str, object] = {
        "n_head": heads,
        "n_query_groups": groups,
        "head_size": size,
        "attention_scores_scalar": None if scale == size**-0.5 else _near_whole(scale**-2),
        "sliding_window_size": window,
        "sliding_window_indices": [int(mixer.window is not None) for mixer in mixers] if window else None,
    }
    # LitGPT rotates all that latent attention has set apart for it, whatever share of a head it is.
    latent = isinstance(mixers[0], LatentAttention)
    return said | kind | rope_settings(rotated, rotated[0].size if latent else size)


def _kind_of_attention(mixer: object) -> dict[str, object]:
    if isinstance(mixer, LatentAttention):
        if mixer.query_size is None:
            _cannot("its queries are made from the stream itself, beside latent keys and values")
        latent = {
            "q_lora_rank": mixer.query_size,
            "kv_lora_rank": mixer.latent_size,
            "qk_rope_head_dim": mixer.rotary.size,
            "qk_nope_head_dim": mixer.plain_size,
            "v_head_dim": mixer.value_size,
        }
        return {"latent_attention": latent}
    if isinstance(mixer, Attention):
        norms = mixer.qk_norm
        return {
            "norm_qk": norms is not None,
            "norm_qk_type": "olmo2" if norms and norms.over == "all" else "default",
            "attention_logit_softcapping": mixer.cap,
        }
    return _cannot(f"it has layers of the kind {type(mixer).__name__}")


def _biases(architecture: Architecture) -> dict[str, object]:
    """Return which projections have a bias: all of them, those of queries, keys and values, or none."""
    found = set()
    for layer in architecture.layers:
        mixer, feed = layer.mixer, layer.feed_forward
        inner = mixer.qkv_bias if isinstance(mixer, Attention) else getattr(mixer, "bias", False)
        outer = mixer.output_bias if isinstance(mixer, Attention) else inner
        found.add((inner, outer, getattr(getattr(feed, "expert", feed), "bias", False)))
    inner, outer, middle = _one("biases", found)
    if outer != middle or (outer and not inner):
        _cannot(
            f"bias = {str(inner).lower()} for queries, keys and values, {str(outer).lower()} after attention "
            f"and {str(middle).lower()} in the feed-forward"
        )
    return {"bias": outer, "attn_bias": inner and not outer}


def _named(name: str, norm: Norm) -> str:
    """Return the name, with the two words in it by which LitGPT chooses how to compute a norm, or without.

    LitGPT 0.5.13 has no other setting for either: an RMSNorm counts from 1 if and only if the name has
    "Gemma" in it, and a LayerNorm is without weights if and only if it has "OLMo" in it.
    """
    if norm.kind == "rms":
        return _with_or_without("Gemma", name, wanted=norm.unit_offset)
    return _with_or_without("OLMo", name, wanted=not norm.weight)


def _with_or_without(word: str, name: str, *, wanted: bool) -> str:
    if not wanted:
        return name.replace(word, word.lower())
    if word in name:
        return name
    start = name.lower().find(word.lower())
    if start < 0:
        return f"{name}-{word}"
    return name[:start] + word + name[start + len(word) :]


def _check(architecture: Architecture, settings: dict[str, object]) -> None:
    """Check that what is said means this architecture, and no other that differs in what cannot be said."""
    bare_norms = architecture.final_norm is not None and not architecture.final_norm.weight
    try:
        config = to_config(SETTINGS, settings, bare_norms=bare_norms)
        meant = describe(SETTINGS, {**config, "tie_word_embeddings": architecture.tied})
    except UnsupportedModel as error:
        raise ValueError(f"it is like no family that LitGPT has ({error.reason.rstrip('.')})") from error
    difference = next(_differences(_plain(architecture), _plain(meant)), None)
    if difference:
        raise ValueError(difference)


def _plain(architecture: Architecture) -> Architecture:
    """Return it without its family's name, and with one way of saying what can be said in two."""
    layers = []
    for layer in architecture.layers:
        feed = layer.feed_forward
        router = getattr(feed, "router", None)
        if router and router.normalise and router.score == "softmax" and router.groups == 1:
            # The scores of all, divided by the sum of those chosen, are the scores of those chosen.
            feed = attrs.evolve(feed, router=attrs.evolve(router, score="softmax_of_chosen"))
        layers.append(attrs.evolve(layer, feed_forward=feed))
    return attrs.evolve(architecture, family="", layers=tuple(layers))


def _differences(one: object, other: object, path: str = "") -> Iterator[str]:
    """Yield where two values differ, in words: `its layers.mixer.clip is 0.3`."""
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        for mine, theirs in zip(one, other, strict=True):
            yield from _differences(mine, theirs, path)
    elif attrs.has(kind := type(one)) and kind is type(other):
        for field in attrs.fields(kind):
            within = f"{path}.{field.name}" if path else field.name
            yield from _differences(getattr(one, field.name), getattr(other, field.name), within)
    elif isinstance(one, float) and isinstance(other, float):
        if abs(one - other) > _ROUNDING * abs(one):
            yield f"its {path} is {one}"
    elif one != other:
        yield f"its {path} is {one}"


def _one(what: str, values: Iterable[T]) -> T:
    """Return what all have."""
    found: list[T] = []
    for value in values:
        if value not in found:
            found.append(value)
    if len(found) != 1:
        _cannot(f"its layers have different {what}")
    return found[0]


def _near_whole(value: float) -> float:
    """Return a number as a whole one, where only rounding makes it differ."""
    return round(value) if abs(value - round(value)) < _ROUNDING * value else value


def _cannot(reason: str) -> NoReturn:
    raise ValueError(reason)
