from litgpt.domain.families import parse_config
from litgpt.domain.memory.estimate import (
    DeviceMemory,
    active_parameter_count,
    check_fit,
    estimate_memory,
    kv_cache_bytes,
    max_context,
    parameter_count,
    weight_bytes,
)
from tests.contracts.distribution_strategy import CONFIG, shapes, windowed

TINY = parse_config("tiny", CONFIG)
WINDOW = 8


def test_every_weight_is_counted_once() -> None:
    from math import prod

    assert parameter_count(TINY) == sum(map(prod, shapes().values()))
    tied = parse_config("tiny", CONFIG | {"tie_word_embeddings": True})
    assert parameter_count(TINY) - parameter_count(tied) == 100 * 16


def test_quantized_projections_take_their_bits_and_what_is_exact_takes_its_own() -> None:
    exact = 2 * 100 * 16 + 5 * 16  # the embedding and the head, and the norms
    projected = parameter_count(TINY) - exact
    rows = 2 * (16 + 2 * 8 + 16 + 2 * 24 + 16)
    assert weight_bytes(TINY, dtype="bfloat16") == 2 * parameter_count(TINY)
    assert weight_bytes(TINY, dtype="bfloat16", quantize="int8") == 2 * exact + projected + 2 * rows
    # A row of 16, or of 24, is one group: 16 bytes of codes, a scale and a zero.
    assert weight_bytes(TINY, dtype="float32", quantize="int4") == 4 * exact + 20 * rows


def test_the_cache_of_a_windowed_layer_stops_growing() -> None:
    per_token = 2 * 2 * 4 * 2  # keys and values, key-value heads, head size, bytes
    assert kv_cache_bytes(TINY, dtype="bfloat16", tokens=60) == 2 * 60 * per_token
    assert kv_cache_bytes(windowed(WINDOW), dtype="bfloat16", tokens=60) == (60 + WINDOW) * per_token
    assert kv_cache_bytes(windowed(WINDOW), dtype="float32", tokens=4) == 2 * 2 * 4 * per_token


def test_llama_3_1_8b_at_full_context_needs_the_memory_of_its_model_card() -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
    }
    needs = estimate_memory(parse_config("llama", config), dtype="bfloat16", tokens=131072)
    assert needs.weights == 2 * 8_030_261_248
    assert needs.kv_cache == 16 * 2**30
    assert needs.total > needs.weights + needs.kv_cache


def test_only_routed_experts_are_computed() -> None:
    config = CONFIG | {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
    sparse = parse_config("tiny", config)
    expert = 3 * 16 * 24
    assert parameter_count(sparse) - active_parameter_count(sparse) == 2 * 6 * expert
    assert active_parameter_count(TINY) == parameter_count(TINY)
    # The memory is that of all of them: LitGPT's estimate for Mixtral left them out.
    assert estimate_memory(sparse, dtype="bfloat16", tokens=1).weights == 2 * parameter_count(sparse)


def test_latent_attention_keeps_one_small_vector_for_all_heads() -> None:
    config = CONFIG | {
        "model_type": "deepseek_v3",
        "first_k_dense_replace": 2,
        "q_lora_rank": 4,
        "kv_lora_rank": 5,
        "qk_nope_head_dim": 4,
        "qk_rope_head_dim": 2,
        "v_head_dim": 3,
    }
    assert kv_cache_bytes(parse_config("tiny", config), dtype="float32", tokens=10) == 2 * 10 * (5 + 2) * 4


def test_a_verdict_names_the_longest_text_that_fits() -> None:
    whole = estimate_memory(TINY, dtype="bfloat16", tokens=TINY.context_length).total
    roomy = check_fit(TINY, DeviceMemory(device="it", total=whole, free=whole), dtype="bfloat16")
    assert (roomy.max_tokens_free, roomy.max_tokens_total) == (TINY.context_length, TINY.context_length)
    ten = estimate_memory(TINY, dtype="bfloat16", tokens=10).total
    tight = check_fit(TINY, DeviceMemory(device="it", total=whole, free=ten), dtype="bfloat16")
    assert (tight.max_tokens_free, tight.max_tokens_total) == (10, TINY.context_length)
    assert max_context(TINY, dtype="bfloat16", nbytes=1000) == 0
