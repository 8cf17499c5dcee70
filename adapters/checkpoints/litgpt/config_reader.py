"""LitGPT's description of a model, translated to Hugging Face's: `model_config.yaml` to `config.json`.

The family is recognized by the structure that the settings describe, never by what the model is called. Two
things LitGPT says nowhere but in the name: "Gemma" in it makes norms count from 1, "OLMo" takes the weights
off LayerNorms. The second is seen in the tensors; where the first does not fit the rest, it is refused.
"""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.litgpt.config import DEFAULTS, LitGptConfig
from litgpt.adapters.checkpoints.litgpt.rope import to_hf_rope_scaling
from litgpt.adapters.checkpoints.litgpt.structures import STRUCTURES
from litgpt.domain.errors import UnsupportedModel


def to_hf_config(
    location: str, values: Mapping[str, object], *, bare_norms: bool = False
) -> dict[str, object]:
    """Return the `config.json` of a model that LitGPT describes; whether its head is tied is not in it.

    Args:
        location: The file that was read, for errors.
        values: The contents of a `model_config.yaml`.
        bare_norms: Whether the norms have no weights, which only the tensors tell.

    Raises:
        CorruptFile: A setting cannot be right.
        UnsupportedModel: No family that is implemented has this structure, or this setting.

    """
    said = LitGptConfig(location, values)
    family = model_type_of(said, bare_norms=bare_norms)
    structure = STRUCTURES[family]
    for name, expected in structure.expected.items():
        found = said.attn_bias if name == "attn_bias" else said[name]
        if found != expected:
            raise said.unsupported(name)
    for name in sorted(said.values.keys() - DEFAULTS.keys()):
        if said.values[name]:  # a setting that a later LitGPT brought, and that is on
            raise said.unsupported(name)
    config: dict[str, object] = {
        "model_type": family,
        "hidden_size": said.integer("n_embd"),
        "num_hidden_layers": said.integer("n_layer"),
        "num_attention_heads": said.integer("n_head"),
        "num_key_value_heads": said.num_kv_heads,
        "vocab_size": said.vocab_size,
        "max_position_embeddings": said.integer("block_size"),
        "rope_theta": said["rope_base"],
        "rope_scaling": to_hf_rope_scaling(said),
    }
    return config | structure.config(said)


def model_type_of(config: LitGptConfig, *, bare_norms: bool) -> str:
    """Return the `model_type` of the family that could have this structure.

    Raises:
        UnsupportedModel: None that is implemented has; it names the setting that stands in the way.

    """
    gemma = config["mlp_class_name"] == "GemmaMLP"
    match config["norm_class_name"], config["mlp_class_name"]:
        case "RMSNorm", "GemmaMLP" | "LLaMAMLP" | "LLaMAMoE" if config.norms_have_unit_offset != gemma:
            raise _unsupported(config)
        case "RMSNorm", "GemmaMLP":
            family = "gemma2" if config["post_attention_norm"] else "gemma"
            family = "gemma3_text" if config["norm_qk"] else family
        case "RMSNorm", "LLaMAMLP":
            family = _dense_model_type(config)
        case "RMSNorm", "LLaMAMoE":
            family = "qwen3_moe" if config["norm_qk"] else "mixtral"
            family = "deepseek_v3" if config["latent_attention"] else family
        case "LayerNorm", "LLaMAMLP":
            family = "olmo" if bare_norms else "stablelm"
        case "LayerNorm", "GptNeoxMLP":
            own_heads = (
                config.num_kv_heads == config.integer("n_head") and not config["shared_attention_norm"]
            )
            family = "gpt_neox" if config["bias"] and own_heads else "falcon"
            family = "phi" if config["lm_head_bias"] else family
        case "RMSNorm" | "LayerNorm", _:
            raise config.unsupported("mlp_class_name")
        case _:
            raise config.unsupported("norm_class_name")
    return family


def _dense_model_type(config: LitGptConfig) -> str:
    """Return which of Llama's relatives has this structure. A Phi 3 is a Llama, or a Mistral, in it."""
    if config["norm_qk"]:
        return "olmo2" if config["norm_qk_type"] == "olmo2" else "qwen3"
    if config.attn_bias:
        return "qwen2"
    if config["rotary_percentage"] != 1:
        return "phi3"
    return "llama" if config["sliding_window_size"] is None else "mistral"


def _unsupported(config: LitGptConfig) -> UnsupportedModel:
    has, numbers = ("has", "1") if config.norms_have_unit_offset else ("does not have", "0")
    return UnsupportedModel(
        config.where,
        f"its name = {config.name[:60]!r} {has} 'Gemma' in it, by which LitGPT marks that norm weights "
        f"count from {numbers}; with mlp_class_name = {config['mlp_class_name']}, that is not implemented.",
    )
