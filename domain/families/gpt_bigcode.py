"""SantaCoder and StarCoder: GPT-2 with multi-query attention.

Source: Ben Allal et al. 2023, arXiv:2301.03988; Li et al. 2023, arXiv:2305.06161.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.gpt2 import GPT2, scaled
from litgpt.domain.families.names import linear, whole
from litgpt.domain.families.settings import Key, Settings
from litgpt.domain.weights import Rule

_LAYER = "transformer.h.{}"
_GROUPS = Key("num_key_value_heads")


def _derived(settings: Settings) -> Mapping[str, object]:
    """Return the number of key-value heads: 1, or as many as query heads."""
    multi_query = settings.flag(Key("multi_query", default=True))
    heads = 1 if multi_query else settings.integer(Key("num_attention_heads"))
    return {**scaled(settings), _GROUPS.name: heads}


GPT_BIGCODE = attrs.evolve(
    GPT2,
    model_type="gpt_bigcode",
    derived=_derived,
    attention=SoftmaxAttention(qkv_bias=True, output_bias=True, groups=_GROUPS, rope=None),
    feed_forward=Plain(activation=Key("activation_function", "gelu_pytorch_tanh")),
    prefixes=(),
    refused=("quantization_config", "add_cross_attention"),
    weights=(
        Rule("transformer.wte.weight", ("transformer.wte.weight",)),
        Rule("transformer.wpe.weight", ("transformer.wpe.weight",)),
        *linear("norm_1", "ln_1", within=_LAYER),
        # Rows are grouped by key-value head: its queries, then its key and value.
        *linear("attn.qkv", "attn.c_attn", within=_LAYER, by_group=True),
        *linear("attn.proj", "attn.c_proj", within=_LAYER),
        *linear("norm_2", "ln_2", within=_LAYER),
        *linear("mlp.fc", "mlp.c_fc", within=_LAYER),
        *linear("mlp.proj", "mlp.c_proj", within=_LAYER),
        *whole("transformer.ln_f", "transformer.ln_f"),
        Rule("lm_head.weight", ("lm_head.weight",)),
    ),
)
