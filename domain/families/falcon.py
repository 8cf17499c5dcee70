"""Falcon: 7B with multi-query attention and one norm, 40B and 180B with grouped queries and two norms.

Source: Almazrouei et al. 2023, arXiv:2311.16867.
"""

from collections.abc import Mapping

from litgpt.domain.architecture import Architecture
from litgpt.domain.families.alibi import Alibis
from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.family import Family, Residual
from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.names import linear, whole
from litgpt.domain.families.norms import LayerNorm
from litgpt.domain.families.settings import Key, Settings
from litgpt.domain.weights import Rule

_LAYER = "transformer.h.{}"
_BIAS = Key("bias", default=False)


def _derived(settings: Settings) -> Mapping[str, object]:
    """Return key-value heads and norms, which the older configs express by flags."""
    newer = settings.flag(Key("new_decoder_architecture", default=False))
    heads = settings.get(Key("num_attention_heads"))
    if newer:
        groups = settings.get(Key("num_kv_heads", heads))
    else:
        groups = 1 if settings.flag(Key("multi_query", default=True)) else heads
    norms = settings.get(Key("num_ln_in_parallel_attn", 2 if newer else 1))
    return {
        "num_kv_heads": groups,
        "parallel_attn": newer or settings.flag(Key("parallel_attn", default=True)),
        "one_norm": norms == 1,
    }


def _two_norms_side_by_side(architecture: Architecture) -> bool:
    first = architecture.layers[0]
    return first.parallel and first.norm_2 is not None


FALCON = Family(
    model_type="falcon",
    called={"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    derived=_derived,
    attention=SoftmaxAttention(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        groups=Key("num_kv_heads"),
        alibi=Alibis(enabled=Key("alibi", default=False), in_bfloat16=True, scaled=True),
    ),
    feed_forward=Plain(activation=Key("activation", "gelu"), bias=_BIAS, size=Key("ffn_hidden_size", None)),
    norm=LayerNorm(eps=Key("layer_norm_epsilon", 1e-5)),
    residual=Residual(parallel=Key("parallel_attn"), shared=Key("one_norm")),
    tied=Key("tie_word_embeddings", default=True),
    weights=(
        Rule("transformer.wte.weight", ("transformer.word_embeddings.weight",)),
        *linear("norm_1", "ln_attn", within=_LAYER, where=_two_norms_side_by_side),
        *linear("norm_2", "ln_mlp", within=_LAYER, where=_two_norms_side_by_side),
        *linear("norm_1", "input_layernorm", within=_LAYER),
        *linear("norm_2", "post_attention_layernorm", within=_LAYER),
        *linear("attn.qkv", "self_attention.query_key_value", within=_LAYER, by_group=True),
        *linear("attn.proj", "self_attention.dense", within=_LAYER),
        *linear("mlp.fc", "mlp.dense_h_to_4h", within=_LAYER),
        *linear("mlp.proj", "mlp.dense_4h_to_h", within=_LAYER),
        *whole("transformer.ln_f", "transformer.ln_f"),
        Rule("lm_head.weight", ("lm_head.weight",)),
    ),
)
