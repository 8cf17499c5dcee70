"""LitGPT's RoPE settings, translated to Hugging Face's `rope_scaling`."""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.litgpt.config import LitGptConfig
from litgpt.domain.errors import CorruptFile
from litgpt.domain.model import yarn_attention_factor

_LLAMA3 = frozenset({"factor", "low_freq_factor", "high_freq_factor", "original_max_seq_len"})
_YARN = frozenset({"factor", "beta_fast", "beta_slow", "original_max_seq_len"})
_MSCALE_KEYS = frozenset({"mscale", "mscale_all_dim"})


def to_hf_rope_scaling(config: LitGptConfig) -> dict[str, object] | None:
    """Return Hugging Face's `rope_scaling`.

    YaRN is read as its paper has it, which is how the models were trained. (LitGPT 0.5.13 computes it with
    fast and slow pairs exchanged, so its own logits differ from those of the models it converted.)

    Raises:
        CorruptFile: The settings are no names and numbers.
        UnsupportedModel: They are not those of a way of stretching that is known.

    """
    given, condensed = config["rope_adjustments"], config["rope_condense_ratio"]
    if given is None:
        return None if condensed == 1 else {"rope_type": "linear", "factor": condensed}
    if condensed != 1:
        raise config.unsupported("rope_condense_ratio")
    if not isinstance(given, dict):
        raise CorruptFile(config.where, "rope_adjustments must be names and values.")
    if not all(isinstance(one, (int, float)) for one in given.values()):
        raise CorruptFile(config.where, "rope_adjustments must be names and numbers.")
    if set(given) == {"factor"}:
        return {"rope_type": "linear", "factor": given["factor"]}
    if set(given) == _LLAMA3:
        return {"rope_type": "llama3", **_with_original(given)}
    if set(given) >= _YARN and set(given) <= _YARN | _MSCALE_KEYS:
        return _yarn(config, given)
    raise config.unsupported("rope_adjustments")


def _yarn(config: LitGptConfig, values: Mapping[str, float]) -> dict[str, object]:
    one, all_dim = (values.get(name) or 0 for name in ("mscale", "mscale_all_dim"))
    if all_dim and not config["latent_attention"]:  # scores are scaled by it, which only DeepSeek does
        raise config.unsupported("rope_adjustments")
    factor = values["factor"]
    magnitude = yarn_attention_factor(factor, one or all_dim) if one or all_dim else 1.0
    if one and all_dim:
        magnitude /= yarn_attention_factor(factor, all_dim)
    kept = {name: value for name, value in values.items() if name in _YARN}
    scaling = {"rope_type": "yarn", **_with_original(kept), "attention_factor": magnitude}
    return scaling | ({"mscale_all_dim": all_dim} if all_dim else {})


def _with_original(values: Mapping[str, float]) -> dict[str, object]:
    renamed: dict[str, object] = {
        name: value for name, value in values.items() if name != "original_max_seq_len"
    }
    return renamed | {"original_max_position_embeddings": values["original_max_seq_len"]}
