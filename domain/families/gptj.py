"""GPT-J: parallel attention and MLP with one shared norm, interleaved partial RoPE.

Source: Wang and Komatsuzaki 2021, "GPT-J-6B: A 6 Billion Parameter Autoregressive Language Model".
"""

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.family import Family, Residual
from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.names import linear, whole
from litgpt.domain.families.norms import LayerNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key
from litgpt.domain.weights import Rule

_LAYER = "transformer.h.{}"

GPTJ = Family(
    model_type="gptj",
    called={
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
        "intermediate_size": "n_inner",
    },
    attention=SoftmaxAttention(groups=None, rope=Rope(rotated=Key("rotary_dim", 64), interleaved=True)),
    feed_forward=Plain(activation=Key("activation_function", "gelu_new")),
    norm=LayerNorm(eps=Key("layer_norm_epsilon", 1e-5)),
    residual=Residual(parallel=True, shared=True),
    head_bias=True,
    unused=("*.attn.bias", "*.attn.masked_bias"),
    refused=("quantization_config", "rope_scaling"),
    weights=(
        Rule("transformer.wte.weight", ("transformer.wte.weight",)),
        *linear("norm_1", "ln_1", within=_LAYER),
        *linear("attn.qkv", "attn.q_proj", "attn.k_proj", "attn.v_proj", within=_LAYER),
        *linear("attn.proj", "attn.out_proj", within=_LAYER),
        *linear("mlp.fc", "mlp.fc_in", within=_LAYER),
        *linear("mlp.proj", "mlp.fc_out", within=_LAYER),
        *whole("transformer.ln_f", "transformer.ln_f"),
        *whole("lm_head", "lm_head"),
    ),
)
