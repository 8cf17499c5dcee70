"""BLOOM: ALiBi, and a LayerNorm after the embedding.

Source: BigScience Workshop 2022, arXiv:2211.05100.
"""

from litgpt.domain.families.alibi import Alibis
from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.family import Family
from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.names import linear, whole
from litgpt.domain.families.norms import LayerNorm
from litgpt.domain.families.settings import Key
from litgpt.domain.weights import Rule

_LAYER = "transformer.h.{}"

BLOOM = Family(
    model_type="bloom",
    called={
        "hidden_size": "n_embed",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "seq_length",
    },
    attention=SoftmaxAttention(qkv_bias=True, output_bias=True, groups=None, rope=None, alibi=Alibis()),
    feed_forward=Plain(activation=Key("hidden_act", "gelu_pytorch_tanh"), size=None),
    norm=LayerNorm(eps=Key("layer_norm_epsilon", 1e-5)),
    embedding_norm=True,
    tied=Key("tie_word_embeddings", default=True),
    # The published files lack the `transformer.` prefix.
    prefixes=tuple(
        (prefix, f"transformer.{prefix}")
        for prefix in ("word_embeddings.", "word_embeddings_layernorm.", "h.", "ln_f.")
    ),
    unused=("*.self_attention.bias", "*.self_attention.masked_bias"),
    refused=("quantization_config", "apply_residual_connection_post_layernorm", "slow_but_exact"),
    weights=(
        Rule("transformer.wte.weight", ("transformer.word_embeddings.weight",)),
        *whole("transformer.wte_norm", "transformer.word_embeddings_layernorm"),
        *linear("norm_1", "input_layernorm", within=_LAYER),
        *linear("attn.qkv", "self_attention.query_key_value", within=_LAYER, by_group=True),
        *linear("attn.proj", "self_attention.dense", within=_LAYER),
        *linear("norm_2", "post_attention_layernorm", within=_LAYER),
        *linear("mlp.fc", "mlp.dense_h_to_4h", within=_LAYER),
        *linear("mlp.proj", "mlp.dense_4h_to_h", within=_LAYER),
        *whole("transformer.ln_f", "transformer.ln_f"),
        Rule("lm_head.weight", ("lm_head.weight",)),
    ),
)
