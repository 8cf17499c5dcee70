"""Which mixtures of experts are trained with a loss that balances the load of their experts."""

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
        "gpt_oss",
        "minimax_m2",
    }
)
"""Families to which transformers adds Switch Transformer's loss (Fedus et al. 2021, arXiv:2101.03961)."""

_DEFAULT_COEFFICIENT = 0.001


def router_loss_coefficient(config: Mapping[str, object]) -> float:
    """Return what the load-balancing loss of a model is multiplied by: `router_aux_loss_coef`.

    Args:
        config: The contents of `config.json`.

    Returns:
        0 for families that are not trained with it.

    Raises:
        BadArgument: The setting is not a finite non-negative number.

    """
    text = config.get("text_config")
    settings = text if isinstance(text, Mapping) else config
    if settings.get("model_type") not in ROUTER_AUX_LOSS_FAMILIES:
        return 0.0
    value = settings.get("router_aux_loss_coef")
    if value is None:
        return _DEFAULT_COEFFICIENT
    return real("router_aux_loss_coef in config.json", value)
