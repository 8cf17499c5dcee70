"""OPT and Galactica: LayerNorm, non-gated MLPs, learned positions with an offset of 2.

Source: Zhang et al. 2022, arXiv:2205.01068; Taylor et al. 2022, arXiv:2211.09085.
"""

from collections.abc import Mapping

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.family import Family
from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.names import linear, whole
from litgpt.domain.families.norms import LayerNorm
from litgpt.domain.families.settings import Key, Settings
from litgpt.domain.weights import Rule

_LAYER = "model.decoder.layers.{}"
_BIAS = Key("enable_bias", default=True)
_AFFINE = Key("layer_norm_elementwise_affine", default=True)


def _checked(settings: Settings) -> Mapping[str, object]:
    """Refuse the features of OPT 350m: post-norm, and an embedding dimension other than the hidden size."""
    before = Key("do_layer_norm_before", default=True)
    if not settings.flag(before):
        raise settings.refuse(before.name, False)
    width = settings.integer(Key("hidden_size"))
    if (embedded := settings.get(Key("word_embed_proj_dim", width))) != width:
        raise settings.refuse("word_embed_proj_dim", embedded)
    return {}


OPT = Family(
    model_type="opt",
    called={"intermediate_size": "ffn_dim"},
    derived=_checked,
    attention=SoftmaxAttention(qkv_bias=_BIAS, output_bias=_BIAS, groups=None, rope=None),
    feed_forward=Plain(
        activation=Key("activation_function", "relu"), bias=_BIAS, size=Key("intermediate_size", 3072)
    ),
    norm=LayerNorm(eps=1e-5, weight=_AFFINE, bias=_AFFINE),
    tied=Key("tie_word_embeddings", default=True),
    learned_positions=True,
    first_position=2,
    # Some files lack the `model.` prefix.
    prefixes=(("decoder.", "model.decoder."),),
    refused=("quantization_config", "_remove_final_layer_norm"),
    weights=(
        Rule("transformer.wte.weight", ("model.decoder.embed_tokens.weight",)),
        Rule("transformer.wpe.weight", ("model.decoder.embed_positions.weight",)),
        *linear("norm_1", "self_attn_layer_norm", within=_LAYER),
        *linear("attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", within=_LAYER),
        *linear("attn.proj", "self_attn.out_proj", within=_LAYER),
        *linear("norm_2", "final_layer_norm", within=_LAYER),
        *linear("mlp.fc", "fc1", within=_LAYER),
        *linear("mlp.proj", "fc2", within=_LAYER),
        *whole("transformer.ln_f", "model.decoder.final_layer_norm"),
        Rule("lm_head.weight", ("lm_head.weight",)),
    ),
)
