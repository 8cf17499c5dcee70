"""LitGPT's RoPE settings, translated to Hugging Face's `rope_scaling`."""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.litgpt_settings import LitGptSettings
from litgpt.domain.architecture import yarn_magnitude
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
