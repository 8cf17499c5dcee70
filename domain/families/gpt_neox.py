"""GPT-NeoX and Pythia: LayerNorm, parallel attention and non-gated MLP, partial RoPE.

Source: Black et al. 2022, arXiv:2204.06745; Biderman et al. 2023, arXiv:2304.01373.
"""

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.family import Family, Residual
from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.names import linear, whole
from litgpt.domain.families.norms import LayerNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key
from litgpt.domain.weights import Rule

_LAYER = "gpt_neox.layers.{}"
_BIAS = Key("attention_bias", default=True)

GPT_NEOX = Family(
    model_type="gpt_neox",
    called={"partial_rotary_factor": "rotary_pct", "rope_theta": "rotary_emb_base"},
    attention=SoftmaxAttention(
        qkv_bias=_BIAS, output_bias=_BIAS, groups=None, rope=Rope(partial=Key("partial_rotary_factor", 0.25))
    ),
    feed_forward=Plain(),
    norm=LayerNorm(),
    residual=Residual(parallel=Key("use_parallel_residual", default=True)),
    unused=("*.rotary_emb.inv_freq", "*.attention.bias", "*.attention.masked_bias"),
    weights=(
        Rule("transformer.wte.weight", ("gpt_neox.embed_in.weight",)),
        *linear("norm_1", "input_layernorm", within=_LAYER),
        *linear("attn.qkv", "attention.query_key_value", within=_LAYER, by_group=True),
        *linear("attn.proj", "attention.dense", within=_LAYER),
        *linear("norm_2", "post_attention_layernorm", within=_LAYER),
        *linear("mlp.fc", "mlp.dense_h_to_4h", within=_LAYER),
        *linear("mlp.proj", "mlp.dense_4h_to_h", within=_LAYER),
        *whole("transformer.ln_f", "gpt_neox.final_layer_norm"),
        Rule("lm_head.weight", ("embed_out.weight",)),
    ),
)
