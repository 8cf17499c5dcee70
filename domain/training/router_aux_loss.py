"""The load-balancing loss of MoE routers: families and coefficient."""

from collections.abc import Mapping

from litgpt.domain.validators import real

ROUTER_AUX_LOSS_FAMILIES = frozenset(
    {
        "mixtral",
        "qwen2_moe",
        "qwen3_moe",
        "qwen3_next",
        "qwen3_5_moe_text",
        "phimoe",
        "granitemoe",
        "granitemoehybrid",
        "gpt_oss",
        "minimax_m2",
    }
)
"""Families with the Switch Transformer loss (Fedus et al. 2021, arXiv:2101.03961) in transformers."""

_DEFAULT_COEFFICIENT = 0.001


def router_loss_coefficient(config: Mapping[str, object]) -> float:
    """Return the coefficient of the load-balancing loss in `config.json`; 0 for families without it."""
    text = config.get("text_config")
    settings = text if isinstance(text, Mapping) else config
    if settings.get("model_type") not in ROUTER_AUX_LOSS_FAMILIES:
        return 0.0
    value = settings.get("router_aux_loss_coef")
    if value is None:
        return _DEFAULT_COEFFICIENT
    return real("router_aux_loss_coef in config.json", value)
