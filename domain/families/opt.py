"""OPT and Galactica: LayerNorm, non-gated MLPs, learned positions with an offset of 2.

Source: Zhang et al. 2022, arXiv:2205.01068; Taylor et al. 2022, arXiv:2211.09085.
"""

from collections.abc import Mapping

from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import Family
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors
from litgpt.domain.weights.mapping import WeightMapping

_LAYER = "model.decoder.layers.{}"
_BIAS = ConfigField("enable_bias", default=True)
_AFFINE = ConfigField("layer_norm_elementwise_affine", default=True)


def _require_supported(config: HFConfig) -> Mapping[str, object]:
    """Refuse the features of OPT 350m: post-norm, and an embedding dimension other than the hidden size."""
    before = ConfigField("do_layer_norm_before", default=True)
    if not config.flag(before):
        raise config.unsupported(before.name, False)
    width = config.integer(ConfigField("hidden_size"))
    if (embedded := config.get(ConfigField("word_embed_proj_dim", width))) != width:
        raise config.unsupported("word_embed_proj_dim", embedded)
    return {}


OPT = Family(
    model_type="opt",
    attribute_map={"intermediate_size": "ffn_dim"},
    normalize_config=_require_supported,
    attention=AttentionSchema(qkv_bias=_BIAS, output_bias=_BIAS, num_kv_heads=None, rope=None),
    mlp=MLPSchema(
        activation=ConfigField("activation_function", "relu"),
        bias=_BIAS,
        intermediate_size=ConfigField("intermediate_size", 3072),
    ),
    norm=LayerNormSchema(eps=1e-5, weight=_AFFINE, bias=_AFFINE),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    learned_positions=True,
    position_offset=2,
    # Some files lack the `model.` prefix.
    prefix_aliases=(("decoder.", "model.decoder."),),
    unsupported_settings=("quantization_config", "_remove_final_layer_norm"),
    weights=(
        WeightMapping("transformer.wte.weight", ("model.decoder.embed_tokens.weight",)),
        WeightMapping("transformer.wpe.weight", ("model.decoder.embed_positions.weight",)),
        *linear_tensors("norm_1", "self_attn_layer_norm", within=_LAYER),
        *linear_tensors(
            "attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", within=_LAYER
        ),
        *linear_tensors("attn.proj", "self_attn.out_proj", within=_LAYER),
        *linear_tensors("norm_2", "final_layer_norm", within=_LAYER),
        *linear_tensors("mlp.fc", "fc1", within=_LAYER),
        *linear_tensors("mlp.proj", "fc2", within=_LAYER),
        *model_tensors("transformer.ln_f", "model.decoder.final_layer_norm"),
        WeightMapping("lm_head.weight", ("lm_head.weight",)),
    ),
)
