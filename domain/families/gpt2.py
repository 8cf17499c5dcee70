"""GPT-2: LayerNorm, learned positions, non-gated MLPs, and transposed weights (`Conv1D`) in files.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
"""

from collections.abc import Mapping

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.family import Family
from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.names import linear, whole
from litgpt.domain.families.norms import LayerNorm
from litgpt.domain.families.settings import Key, Settings
from litgpt.domain.weights import Rule

_LAYER = "transformer.h.{}"


def scaled(settings: Settings) -> Mapping[str, object]:
    """Refuse unscaled attention, which no published model uses."""
    key = Key("scale_attn_weights", default=True)
    if not settings.flag(key):
        raise settings.refuse(key.name, False)
    return {}


GPT2 = Family(
    model_type="gpt2",
    called={
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
        "intermediate_size": "n_inner",
    },
    derived=scaled,
    attention=SoftmaxAttention(qkv_bias=True, output_bias=True, groups=None, rope=None),
    feed_forward=Plain(activation=Key("activation_function", "gelu_new")),
    norm=LayerNorm(eps=Key("layer_norm_epsilon", 1e-5)),
    tied=Key("tie_word_embeddings", default=True),
    learned_positions=True,
    context=Key("max_position_embeddings", 1024),
    # The first published files lack the `transformer.` prefix.
    prefixes=tuple((prefix, f"transformer.{prefix}") for prefix in ("wte.", "wpe.", "h.", "ln_f.")),
    unused=("*.attn.bias", "*.attn.masked_bias"),
    refused=("quantization_config", "scale_attn_by_inverse_layer_idx", "add_cross_attention"),
    weights=(
        Rule("transformer.wte.weight", ("transformer.wte.weight",)),
        Rule("transformer.wpe.weight", ("transformer.wpe.weight",)),
        *linear("norm_1", "ln_1", within=_LAYER),
        *linear("attn.qkv", "attn.c_attn", within=_LAYER, transposed=True),
        *linear("attn.proj", "attn.c_proj", within=_LAYER, transposed=True),
        *linear("norm_2", "ln_2", within=_LAYER),
        *linear("mlp.fc", "mlp.c_fc", within=_LAYER, transposed=True),
        *linear("mlp.proj", "mlp.c_proj", within=_LAYER, transposed=True),
        *whole("transformer.ln_f", "transformer.ln_f"),
        Rule("lm_head.weight", ("lm_head.weight",)),
    ),
)
