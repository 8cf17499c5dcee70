"""Tests of a real GGUF file: the network computes transformers' logits.

SmolLM2 is compared in `entrypoints/test_llm_real.py`. Gemma 3 adds two RoPE bases, sliding windows, norms
with unit offset and a scaled embedding. Its settings are copied from its repository; its tensors are compared
with the file in `test_gguf_real.py`, because transformers' reader takes half a minute for the same result.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import null_reporter
from litgpt.domain.weights.mapping import validate_mapping

WINDOW = 512

# "The capital of France is", with the token that begins a text.
CAPITAL = torch.tensor([[2, 818, 5279, 529, 7001, 563]])

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def checkpoint(gemma3_gguf: Path) -> Checkpoint[Tensor]:
    return open_gguf(gemma3_gguf, "gemma3")


@pytest.fixture(scope="module")
def reference(checkpoint: Checkpoint[Tensor]) -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(
        vocab_size=262144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        query_pre_attn_scalar=256,
        max_position_embeddings=32768,
        rms_norm_eps=1e-6,
        sliding_window=WINDOW,
        layer_types=[*["sliding_attention"] * 5, "full_attention"] * 3,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
        },
    )
    tensors = {name: checkpoint.read(name, "float32") for name in checkpoint.tensors}
    return Gemma3ForCausalLM.from_pretrained(None, config=config, state_dict=tensors).eval()


@pytest.fixture(scope="module")
def actual(checkpoint: Checkpoint[Tensor]) -> GPT:
    architecture, family = parse_config("gemma3", checkpoint.config), family_of("gemma3", checkpoint.config)
    joins = validate_mapping("gemma3", architecture, family.weights, checkpoint.tensors)
    placement = Placement(devices=("cpu",), dtype="float32")
    return LayerSplit().build(placement, architecture, joins, checkpoint, null_reporter).network


def assert_close(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= 1e-4 * expected.abs().max()


@torch.inference_mode()
def test_gemma_3_gives_transformers_logits(actual: GPT, reference: Any) -> None:
    assert_close(actual(CAPITAL), reference(CAPITAL).logits)


@torch.inference_mode()
def test_gemma_3_gives_transformers_logits_behind_a_text_longer_than_its_windows(
    actual: GPT, reference: Any
) -> None:
    ids = torch.randint(1000, 200_000, (1, WINDOW + 50), generator=torch.Generator().manual_seed(1))
    assert_close(actual(ids, last_token_only=True), reference(ids, logits_to_keep=1).logits)
