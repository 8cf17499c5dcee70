"""Translate LitGPT's RoPE settings to Hugging Face's `rope_scaling`."""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.litgpt.config import LitGptConfig
from litgpt.domain.errors import CorruptFile
from litgpt.domain.model import yarn_attention_factor

_LLAMA3 = frozenset({"factor", "low_freq_factor", "high_freq_factor", "original_max_seq_len"})
_YARN = frozenset({"factor", "beta_fast", "beta_slow", "original_max_seq_len"})
_MSCALE_KEYS = frozenset({"mscale", "mscale_all_dim"})


def to_hf_rope_scaling(config: LitGptConfig) -> dict[str, object] | None:
    """Return Hugging Face's `rope_scaling`.

    YaRN is translated as in its paper, which is how the models were trained. (LitGPT 0.5.13 swaps the fast
    and slow dimensions, so its logits differ from the original models'.)
    """
    adjustments, condensed = config["rope_adjustments"], config["rope_condense_ratio"]
    if adjustments is None:
        return None if condensed == 1 else {"rope_type": "linear", "factor": condensed}
    if condensed != 1:
        raise config.unsupported("rope_condense_ratio")
    if not isinstance(adjustments, dict):
        raise CorruptFile(config.where, "rope_adjustments must be a mapping of names to numbers.")
    if not all(isinstance(value, (int, float)) for value in adjustments.values()):
        raise CorruptFile(config.where, "the values of rope_adjustments must be numbers.")
    if set(adjustments) == {"factor"}:
        return {"rope_type": "linear", "factor": adjustments["factor"]}
    if set(adjustments) == _LLAMA3:
        return {"rope_type": "llama3", **_with_original(adjustments)}
    if set(adjustments) >= _YARN and set(adjustments) <= _YARN | _MSCALE_KEYS:
        return _yarn(config, adjustments)
    raise config.unsupported("rope_adjustments")


def _yarn(config: LitGptConfig, values: Mapping[str, float]) -> dict[str, object]:
    mscale, mscale_all_dim = (values.get(name) or 0 for name in ("mscale", "mscale_all_dim"))
    if mscale_all_dim and not config["latent_attention"]:  # only DeepSeek scales attention scores by it
        raise config.unsupported("rope_adjustments")
    factor = values["factor"]
    has_mscale = mscale or mscale_all_dim
    attention_factor = yarn_attention_factor(factor, mscale or mscale_all_dim) if has_mscale else 1.0
    if mscale and mscale_all_dim:
        attention_factor /= yarn_attention_factor(factor, mscale_all_dim)
    yarn = _with_original({name: value for name, value in values.items() if name in _YARN})
    scaling = {"rope_type": "yarn", **yarn, "attention_factor": attention_factor}
    return scaling | ({"mscale_all_dim": mscale_all_dim} if mscale_all_dim else {})


def _with_original(values: Mapping[str, float]) -> dict[str, object]:
    renamed: dict[str, object] = {
        name: value for name, value in values.items() if name != "original_max_seq_len"
    }
    return renamed | {"original_max_position_embeddings": values["original_max_seq_len"]}
