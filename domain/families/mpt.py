"""MPT: ALiBi, LayerNorm without bias, non-gated MLPs.

Source: MosaicML NLP Team 2023, "Introducing MPT-7B".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.alibi import Alibis
from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.family import Family
from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.names import layer_rule
from litgpt.domain.families.norms import LayerNorm
from litgpt.domain.families.settings import Key, Settings
from litgpt.domain.weights import Rule

_LAYER = "transformer.blocks.{}"
_MULTIHEAD = "multihead_attention"


def _derived(settings: Settings) -> Mapping[str, object]:
    """Return the settings in `attn_config` as top-level settings."""
    attention = attrs.evolve(settings, values=settings.mapping(Key("attn_config")))
    for name in ("prefix_lm", "qk_ln"):
        if attention.get(Key(name, default=False)):
            raise attention.refuse(name, True)
    if not attention.flag(Key("alibi", default=True)):
        raise attention.refuse("alibi", False)
    if (kind := attention.get(Key("attn_type", _MULTIHEAD))) != _MULTIHEAD:
        raise attention.refuse("attn_type", kind)
    if not settings.flag(Key("no_bias", default=True)):
        raise settings.refuse("no_bias", False)
    width, heads = settings.integer(Key("hidden_size")), settings.integer(Key("num_attention_heads"))
    return {
        "clip_qkv": attention.get(Key("clip_qkv", None)) or None,
        "softmax_scale": attention.get(Key("softmax_scale", (width / heads) ** -0.5)),
        "alibi_bias_max": attention.get(Key("alibi_bias_max", 8)),
    }


MPT = Family(
    model_type="mpt",
    called={
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "max_position_embeddings": "max_seq_len",
    },
    derived=_derived,
    attention=SoftmaxAttention(
        groups=None,
        rope=None,
        alibi=Alibis(),
        scale=Key("softmax_scale"),
        clip=Key("clip_qkv", None),
    ),
    feed_forward=Plain(bias=False, size=None),
    norm=LayerNorm(eps=Key("layer_norm_epsilon", 1e-5), bias=False),
    tied=Key("tie_word_embeddings", default=True),
    refused=("quantization_config", "logit_scale"),
    weights=(
        Rule("transformer.wte.weight", ("transformer.wte.weight",)),
        layer_rule("norm_1.weight", "norm_1.weight", within=_LAYER),
        layer_rule("attn.qkv.weight", "attn.Wqkv.weight", within=_LAYER),
        layer_rule("attn.proj.weight", "attn.out_proj.weight", within=_LAYER),
        layer_rule("norm_2.weight", "norm_2.weight", within=_LAYER),
        layer_rule("mlp.fc.weight", "ffn.up_proj.weight", within=_LAYER),
        layer_rule("mlp.proj.weight", "ffn.down_proj.weight", within=_LAYER),
        Rule("transformer.ln_f.weight", ("transformer.norm_f.weight",)),
        Rule("lm_head.weight", ("lm_head.weight",)),
    ),
)
