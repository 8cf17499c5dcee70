"""Tests of BLOOM, MPT, Falcon RW, GPT-J, OPT and StarCoder with their repositories' configs."""

from typing import Any

import pytest

from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.families import parse_config
from litgpt.domain.families.schema.alibi import alibi_slopes
from litgpt.domain.model import AlibiSpec, Architecture, AttentionSpec

BLOOM_560M = {
    "model_type": "bloom",
    "apply_residual_connection_post_layernorm": False,
    "layer_norm_epsilon": 1e-05,
    "n_embed": 1024,
    "n_layer": 2,
    "num_attention_heads": 16,
    "pretraining_tp": 1,
    "seq_length": 2048,
    "slow_but_exact": False,
    "vocab_size": 250880,
}
MPT_7B_STORYWRITER = {
    "model_type": "mpt",
    "attn_config": {
        "alibi": True,
        "alibi_bias_max": 16,
        "attn_impl": "torch",
        "attn_pdrop": 0,
        "attn_type": "multihead_attention",
        "attn_uses_sequence_id": False,
        "clip_qkv": 6,
        "prefix_lm": False,
        "qk_ln": False,
        "softmax_scale": None,
    },
    "d_model": 4096,
    "expansion_ratio": 4,
    "learned_pos_emb": True,
    "logit_scale": None,
    "max_seq_len": 65536,
    "n_heads": 32,
    "n_layers": 2,
    "no_bias": True,
    "norm_type": "low_precision_layernorm",
    "vocab_size": 50432,
}
FALCON_RW_1B = {
    "model_type": "falcon",
    "alibi": True,
    "bias": True,
    "hidden_size": 2048,
    "layer_norm_epsilon": 1e-05,
    "multi_query": False,
    "n_head": 32,
    "n_layer": 2,
    "parallel_attn": False,
    "vocab_size": 50304,
}
GPT_J_6B = {
    "model_type": "gptj",
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-05,
    "n_embd": 4096,
    "n_head": 16,
    "n_inner": None,
    "n_layer": 2,
    "n_positions": 2048,
    "rotary_dim": 64,
    "tie_word_embeddings": False,
    "vocab_size": 50400,
}
OPT_125M = {
    "model_type": "opt",
    "_remove_final_layer_norm": False,
    "activation_function": "relu",
    "do_layer_norm_before": True,
    "ffn_dim": 3072,
    "hidden_size": 768,
    "max_position_embeddings": 2048,
    "num_attention_heads": 12,
    "num_hidden_layers": 2,
    "vocab_size": 50272,
    "word_embed_proj_dim": 768,
}
STARCODER = {
    "model_type": "gpt_bigcode",
    "activation_function": "gelu",
    "attention_softmax_in_fp32": True,
    "multi_query": True,
    "n_embd": 6144,
    "n_head": 48,
    "n_inner": 24576,
    "n_layer": 2,
    "n_positions": 8192,
    "scale_attn_weights": True,
    "vocab_size": 49152,
}


def attention(architecture: Architecture) -> AttentionSpec:
    """Return the attention of the first layer."""
    mixer = architecture.layers[0].mixer
    assert isinstance(mixer, AttentionSpec)
    return mixer


def falling(architecture: Architecture) -> AlibiSpec:
    """Return the ALiBi settings of the first layer."""
    alibi = attention(architecture).alibi
    assert alibi is not None
    return alibi


def test_alibi_slopes_are_powers_of_one_half_with_interpolation() -> None:
    assert alibi_slopes(8, 8) == tuple(2.0**-power for power in range(1, 9))
    assert alibi_slopes(6, 8) == (2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3)
    assert alibi_slopes(1, 8) == (2**-8,)


def test_bloom_has_a_norm_on_its_embedding_and_scores_that_fall() -> None:
    bloom = parse_config("bigscience/bloom-560m", BLOOM_560M)
    assert (bloom.hidden_size, bloom.context_length, bloom.tie_word_embeddings) == (1024, 2048, True)
    assert bloom.embedding_norm == bloom.final_norm
    assert falling(bloom).slopes[1] == 0.5
    assert bloom.layers[0].mlp.intermediate_size == 4096
    assert attention(bloom).rope is None


def test_mpts_alibi_slopes_follow_its_config() -> None:
    mpt = parse_config("mosaicml/mpt-7b-storywriter", MPT_7B_STORYWRITER)
    assert falling(mpt).slopes[-1] == 2**-16
    assert (attention(mpt).clip_qkv, attention(mpt).scale, mpt.context_length) == (6.0, 128**-0.5, 65536)
    assert mpt.final_norm is not None
    assert not mpt.final_norm.bias


def test_falcons_alibi_bias_is_added_before_scaling() -> None:
    falcon = parse_config("tiiuae/falcon-rw-1b", FALCON_RW_1B)
    assert falling(falcon) == AlibiSpec(slopes=alibi_slopes(32, 8), scale=64**-0.5, in_bfloat16=True)
    assert attention(falcon).rope is None
    without = parse_config("tiiuae/falcon-7b", FALCON_RW_1B | {"alibi": False})
    assert attention(without).alibi is None
    assert attention(without).rope is not None


def test_gpt_j_rotates_a_part_of_each_head_and_its_head_has_a_bias() -> None:
    gptj = parse_config("EleutherAI/gpt-j-6b", GPT_J_6B)
    rotary = attention(gptj).rope
    assert rotary is not None
    assert (rotary.rotary_dim, rotary.interleaved, gptj.lm_head_bias, gptj.tie_word_embeddings) == (
        64,
        True,
        True,
        False,
    )
    assert gptj.layers[0].norm_2 is None
    assert gptj.layers[0].parallel_residual


def test_opts_first_token_has_the_third_row_of_positions() -> None:
    opt = parse_config("facebook/opt-125m", OPT_125M)
    assert (opt.num_position_embeddings, opt.position_offset) == (2050, 2)


def test_starcoder_has_one_key_value_head() -> None:
    starcoder = parse_config("bigcode/starcoder", STARCODER)
    assert (attention(starcoder).num_kv_heads, starcoder.num_position_embeddings) == (1, 8192)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (BLOOM_560M, {"apply_residual_connection_post_layernorm": True}, "post_layernorm"),
        (BLOOM_560M, {"slow_but_exact": True}, "slow_but_exact"),
        (MPT_7B_STORYWRITER, {"attn_config": {"alibi": False}}, "alibi = False"),
        (MPT_7B_STORYWRITER, {"attn_config": {"qk_ln": True}}, "qk_ln"),
        (MPT_7B_STORYWRITER, {"attn_config": {"prefix_lm": True}}, "prefix_lm"),
        (MPT_7B_STORYWRITER, {"attn_config": {"attn_type": "multiquery_attention"}}, "multiquery"),
        (MPT_7B_STORYWRITER, {"no_bias": False}, "no_bias"),
        (MPT_7B_STORYWRITER, {"logit_scale": "inv_sqrt_d_model"}, "logit_scale"),
        (OPT_125M, {"do_layer_norm_before": False}, "do_layer_norm_before"),
        (OPT_125M, {"word_embed_proj_dim": 512}, "word_embed_proj_dim"),
        (OPT_125M, {"_remove_final_layer_norm": True}, "_remove_final_layer_norm"),
        (GPT_J_6B, {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_scaling"),
        (STARCODER, {"scale_attn_weights": False}, "scale_attn_weights"),
        (STARCODER, {"model_type": "gpt2", "scale_attn_weights": False}, "scale_attn_weights"),
        (STARCODER, {"add_cross_attention": True}, "add_cross_attention"),
    ],
)
def test_unsupported_settings_are_refused(
    config: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        parse_config("x", config | settings)


def test_the_rotated_share_of_a_head_is_at_most_1() -> None:
    with pytest.raises(CorruptFile, match="rotary_dim must be an even number up to 256"):
        parse_config("x", GPT_J_6B | {"rotary_dim": 258})
