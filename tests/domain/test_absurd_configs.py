"""Tests of configs beyond any machine's size: refused before a layer is built, with a short message."""

import time
from typing import Any

import pytest

from litgpt.domain.errors import CheckpointMismatch, CorruptFile, LitGPTError, UnsupportedModel
from litgpt.domain.families import FAMILIES, parse_config, resolve_model
from litgpt.domain.formatting.bounded_text import MESSAGE_LIMIT
from litgpt.domain.memory.estimate import weight_bytes
from litgpt.domain.weights.tensor_info import TensorInfo
from tests.contracts.distribution_strategy import CONFIG

EXPERTS = {
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_local_experts": 4,
}
LATENT = {
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
}
DELTA = {
    "altup_num_inputs": 2,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "max_position_embeddings": 64,
    "n_shared_experts": 1,
    "sliding_window": 8,
}
SMALL: dict[str, Any] = {**CONFIG, **EXPERTS, **LATENT, **DELTA}
ABSURD = (
    10**7,
    10**12,
    10**400,
    -1,
    0,
    2.5,
    float("nan"),
    True,
    "9" * 10_000,
    [1] * 100_000,
    {"a": [0] * 9999},
)


def refusal_of(config: dict[str, Any]) -> str:
    """Return the message with which a config is refused at any stage; empty if it is accepted."""
    began = time.process_time()
    try:
        weight_bytes(parse_config("a model", config), dtype="float32")
        resolve_model("a model", config, {})
    except LitGPTError as error:
        return max(str(error), repr(error), key=len)
    finally:
        assert time.process_time() - began < 5
    return ""


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_each_setting_of_each_family_may_be_absurd(model_type: str) -> None:
    for key in SMALL:
        for value in ABSURD:
            message = refusal_of({**SMALL, "model_type": model_type, key: value})
            assert 0 < len(message) <= MESSAGE_LIMIT, (key, value)


@pytest.mark.parametrize("layers", [1025, 10**7, 10**30])
def test_there_is_a_most_of_layers(layers: int) -> None:
    with pytest.raises(CorruptFile, match="num_hidden_layers must be at most 1,024"):
        parse_config("a model", CONFIG | {"num_hidden_layers": layers})


def test_there_is_a_most_of_experts_in_all_layers() -> None:
    with pytest.raises(UnsupportedModel, match="experts in all layers = 65536"):
        parse_config(
            "a model", SMALL | {"model_type": "qwen3_moe", "num_hidden_layers": 1, "num_experts": 2**16}
        )


def test_thousands_of_missing_tensors_make_a_short_message_and_a_bounded_search() -> None:
    config = SMALL | {"model_type": "qwen3_moe", "num_hidden_layers": 2, "num_experts": 2**14}
    tensors = {f"tensor.{number}": TensorInfo((1,), "F32", 4) for number in range(12)}
    with pytest.raises(CheckpointMismatch, match=r"\d+ missing: .* and \d+ more") as caught:
        resolve_model("a model", config, tensors)
    assert len(str(caught.value)) < MESSAGE_LIMIT
    assert 5000 < len(caught.value.missing) < 6000
