"""OLMo Hybrid: three Gated DeltaNet layers with pre-norm to one layer of OLMo 3's attention with post-norm.

Source: Team OLMo 2026, "Olmo Hybrid".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import ATTENTION_BIAS
from litgpt.domain.families.olmo import OLMO2
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.hybrid import GatedDeltaSchema, HybridSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors


def _defaults(config: HFConfig) -> Mapping[str, object]:
    """Return the sizes of the heads of linear attention, and whether layers have RoPE."""
    width, heads = (config.integer(ConfigField(name)) for name in ("hidden_size", "num_attention_heads"))
    key_heads = config.get(ConfigField("linear_num_key_heads", heads))
    size = config.get(ConfigField("linear_key_head_dim", int(0.75 * width / key_heads)))
    rope = config.mapping(ConfigField("rope_parameters"))
    settings: dict[str, object] = {
        "linear_num_key_heads": key_heads,
        "linear_num_value_heads": config.get(ConfigField("linear_num_value_heads", heads)),
        "linear_key_head_dim": size,
        "linear_value_head_dim": config.get(ConfigField("linear_value_head_dim", 2 * size)),
    }
    theta = rope.get("rope_theta") if rope else config.values.get("rope_theta", 10_000.0)
    if theta is None:
        settings["rope_parameters"] = None
        settings["nope_interval"] = 1  # no layer is rotated
    return settings


def _layer_type(config: HFConfig, layer: int) -> str:
    """Return the type of a layer: every fourth has full attention, or the last of fewer layers."""
    count = config.integer(ConfigField("num_hidden_layers"))
    is_full = layer % 4 == 3 or (count < 4 and layer == count - 1)
    return "full_attention" if is_full else "linear_attention"


_NORM = RMSNormSchema()

OLMO_HYBRID = attrs.evolve(
    OLMO2,
    model_type="olmo_hybrid",
    normalize_config=_defaults,
    attention=HybridSchema(
        mixers={
            "full_attention": AttentionSchema(
                qkv_bias=ATTENTION_BIAS,
                output_bias=ATTENTION_BIAS,
                qk_norm=QkNormSchema(norm=_NORM, scope="all"),
                rope=RopeSchema(
                    nope_layers=NoPE(
                        interval=ConfigField("nope_interval"), requires=ConfigField("nope_interval", None)
                    )
                ),
            ),
            "linear_attention": GatedDeltaSchema(
                norm=RMSNormSchema(eps=1e-5),
                allow_neg_eigval=ConfigField("linear_allow_neg_eigval", default=True),
            ),
        },
        default_type=_layer_type,
    ),
    norm=_NORM,
    residuals={"linear_attention": ResidualSchema()},
    context_length=ConfigField("max_position_embeddings", 65_536),
    unused_tensors=(*OLMO2.unused_tensors, "mtp.*"),
    weights=(
        # transformers saves all norms with the names of layers of linear attention.
        *linear_tensors("post_attention_norm", "feedforward_layer_norm"),
        *(rule for rule in OLMO2.weights if ".post_attention_norm." not in rule.name),
        *linear_tensors("norm_1", "attention_layer_norm"),
        *linear_tensors("norm_2", "feedforward_layer_norm"),
        layer_tensor("attn.qkvz.weight", *(f"linear_attn.{part}_proj.weight" for part in "qkvg")),
        layer_tensor("attn.ba.weight", *(f"linear_attn.{part}_proj.weight" for part in "ba")),
        layer_tensor("attn.conv.weight", *(f"linear_attn.{part}_conv1d.weight" for part in "qkv")),
        layer_tensor("attn.dt_bias", "linear_attn.dt_bias"),
        layer_tensor("attn.A_log", "linear_attn.A_log"),
        layer_tensor("attn.norm.weight", "linear_attn.o_norm.weight"),
        layer_tensor("attn.out_proj.weight", "linear_attn.o_proj.weight"),
    ),
    alternative_weights=linear_tensors("post_attention_norm", "post_attention_layernorm"),
)
