"""Translate LitGPT's `model_config.yaml` to Hugging Face's `config.json`.

The family is inferred from the settings, never from the model name. LitGPT encodes two settings only in the
name: "Gemma" adds 1 to the weights of RMSNorms, "OLMo" removes the weights of LayerNorms. The second is
visible in the tensors; if the first contradicts the other settings, the model is rejected.
"""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.litgpt.config import DEFAULTS, LitGptConfig
from litgpt.adapters.checkpoints.litgpt.rope import to_hf_rope_scaling
from litgpt.adapters.checkpoints.litgpt.structures import STRUCTURES
from litgpt.domain.errors import UnsupportedModel


def to_hf_config(
    location: str, values: Mapping[str, object], *, bare_norms: bool = False
) -> dict[str, object]:
    """Return the `config.json` of a LitGPT model, without `tie_word_embeddings`.

    `location` names the file in errors. `bare_norms`: the norms have no weights, which only the tensors show.
    """
    settings = LitGptConfig(location, values)
    family = model_type_of(settings, bare_norms=bare_norms)
    structure = STRUCTURES[family]
    for name, expected in structure.expected.items():
        value = settings.attn_bias if name == "attn_bias" else settings[name]
        if value != expected:
            raise settings.unsupported(name)
    for name in sorted(settings.values.keys() - DEFAULTS.keys()):
        if settings.values[name]:  # a setting of a later LitGPT that is enabled
            raise settings.unsupported(name)
    config: dict[str, object] = {
        "model_type": family,
        "hidden_size": settings.integer("n_embd"),
        "num_hidden_layers": settings.integer("n_layer"),
        "num_attention_heads": settings.integer("n_head"),
        "num_key_value_heads": settings.num_kv_heads,
        "vocab_size": settings.vocab_size,
        "max_position_embeddings": settings.integer("block_size"),
        "rope_theta": settings["rope_base"],
        "rope_scaling": to_hf_rope_scaling(settings),
    }
    return config | structure.config(settings)


def model_type_of(config: LitGptConfig, *, bare_norms: bool) -> str:
    """Return the `model_type` of the family with this structure."""
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
    """Return the family of a Llama-like structure. LitGPT describes Phi 3 as a Llama or a Mistral."""
    if config["norm_qk"]:
        return "olmo2" if config["norm_qk_type"] == "olmo2" else "qwen3"
    if config.attn_bias:
        return "qwen2"
    if config["rotary_percentage"] != 1:
        return "phi3"
    return "llama" if config["sliding_window_size"] is None else "mistral"


def _unsupported(config: LitGptConfig) -> UnsupportedModel:
    has, offset = ("contains", "1") if config.norms_have_unit_offset else ("does not contain", "0")
    return UnsupportedModel(
        config.where,
        f"its name = {config.name[:60]!r} {has} 'Gemma', so LitGPT adds {offset} to the norm weights; "
        f"with mlp_class_name = {config['mlp_class_name']}, that is not supported.",
    )
