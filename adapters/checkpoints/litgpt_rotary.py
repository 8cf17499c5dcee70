"""LitGPT's words for rotary positions, read as Hugging Face's, and said of ours."""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.litgpt_settings import LitGptSettings
from litgpt.domain.architecture import LinearScaling, Llama3Scaling, Rotary, yarn_magnitude
from litgpt.domain.errors import DamagedFile

_LLAMA3 = frozenset({"factor", "low_freq_factor", "high_freq_factor", "original_max_seq_len"})
_YARN = frozenset({"factor", "beta_fast", "beta_slow", "original_max_seq_len"})
_MAGNITUDES = frozenset({"mscale", "mscale_all_dim"})


def rope_scaling(said: LitGptSettings) -> dict[str, object] | None:
    """Return Hugging Face's `rope_scaling`.

    YaRN is read as its paper has it, which is how the models were trained. (LitGPT 0.5.13 computes it with
    fast and slow pairs exchanged, so its own logits differ from those of the models it converted.)

    Raises:
        DamagedFile: The settings are no names and numbers.
        UnsupportedModel: They are not those of a way of stretching that is known.

    """
    given, condensed = said["rope_adjustments"], said["rope_condense_ratio"]
    if given is None:
        return None if condensed == 1 else {"rope_type": "linear", "factor": condensed}
    if condensed != 1:
        raise said.refused("rope_condense_ratio")
    if not isinstance(given, dict):
        raise DamagedFile(said.where, "rope_adjustments must be names and values.")
    if not all(isinstance(one, (int, float)) for one in given.values()):
        raise DamagedFile(said.where, "rope_adjustments must be names and numbers.")
    if set(given) == {"factor"}:
        return {"rope_type": "linear", "factor": given["factor"]}
    if set(given) == _LLAMA3:
        return {"rope_type": "llama3", **_with_original(given)}
    if set(given) >= _YARN and set(given) <= _YARN | _MAGNITUDES:
        return _yarn(said, given)
    raise said.refused("rope_adjustments")


def _yarn(said: LitGptSettings, given: Mapping[str, float]) -> dict[str, object]:
    one, all_dim = (given.get(name) or 0 for name in ("mscale", "mscale_all_dim"))
    if all_dim and not said["latent_attention"]:  # scores are scaled by it, which only DeepSeek does
        raise said.refused("rope_adjustments")
    factor = given["factor"]
    magnitude = yarn_magnitude(factor, one or all_dim) if one or all_dim else 1.0
    if one and all_dim:
        magnitude /= yarn_magnitude(factor, all_dim)
    kept = {name: value for name, value in given.items() if name in _YARN}
    scaling = {"rope_type": "yarn", **_with_original(kept), "attention_factor": magnitude}
    return scaling | ({"mscale_all_dim": all_dim} if all_dim else {})


def _with_original(given: Mapping[str, float]) -> dict[str, object]:
    renamed: dict[str, object] = {
        name: value for name, value in given.items() if name != "original_max_seq_len"
    }
    return renamed | {"original_max_position_embeddings": given["original_max_seq_len"]}


def rope_settings(rotaries: list[Rotary], head_size: int) -> dict[str, object]:
    """Return LitGPT's settings for the rotary embeddings of all layers, from the first to the last.

    Raises:
        ValueError: LitGPT cannot express them; it says what stands in the way.

    """
    distinct = list(dict.fromkeys(rotaries))
    plain = [one for one in distinct if one.scaling is None]
    # Of two embeddings, one is LitGPT's "local" one, which is never stretched: the one that most layers have.
    local = max(plain, key=rotaries.count) if len(distinct) == 2 and plain else None
    main = next(one for one in distinct if one is not local)
    if any((one.size, one.interleaved) != (main.size, main.interleaved) for one in distinct) or (
        len(distinct) > 1 and (local is None or len(distinct) > 2)
    ):
        raise ValueError(f"its layers have {len(distinct)} different rotary embeddings")
    return {
        "rope_base": _number(main.base),
        "rotary_percentage": _share(main.size, head_size),
        "rope_interleave": main.interleaved,
        "rope_condense_ratio": 1,
        "rope_adjustments": _adjustments(main),
        "rope_local_base_freq": _number(local.base) if local else None,
        "rope_indices": [int(one == local) for one in rotaries] if local else None,
    }


def _adjustments(rotary: Rotary) -> dict[str, object] | None:
    match rotary.scaling:
        case None:
            return None
        case LinearScaling(factor=factor):
            return {"factor": factor}
        case Llama3Scaling() as it:
            return {
                "factor": it.factor,
                "low_freq_factor": it.low_freq_factor,
                "high_freq_factor": it.high_freq_factor,
                "original_max_seq_len": it.original_context,
            }
        case other:  # of which LitGPT has settings for YaRN, and computes something else by them
            kind = type(other).__name__.removesuffix("Scaling")
            raise ValueError(f"its positions are stretched by {kind}, which LitGPT 0.5.13 does not compute")


def _share(size: int, head_size: int) -> float:
    """Return the share of a head that LitGPT, which rounds down, makes `size` numbers of."""
    share = size / head_size
    return share if int(share * head_size) == size else (size + 0.5) / head_size


def _number(value: float) -> float:
    """Return a whole number as LitGPT writes it, without a point."""
    return int(value) if float(value).is_integer() else value
