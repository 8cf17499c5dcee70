"""Tests of real GGUF files: every value equals the gguf package's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gguf
import numpy as np
import pytest
import torch

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.ports import Checkpoint
from litgpt.domain.weights.mapping import validate_mapping

LAYER = "model.layers.{}"
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": f"{LAYER}.input_layernorm",
    "attn_q": f"{LAYER}.self_attn.q_proj",
    "attn_k": f"{LAYER}.self_attn.k_proj",
    "attn_v": f"{LAYER}.self_attn.v_proj",
    "attn_output": f"{LAYER}.self_attn.o_proj",
    "attn_q_norm": f"{LAYER}.self_attn.q_norm",
    "attn_k_norm": f"{LAYER}.self_attn.k_norm",
    "ffn_gate": f"{LAYER}.mlp.gate_proj",
    "ffn_up": f"{LAYER}.mlp.up_proj",
    "ffn_down": f"{LAYER}.mlp.down_proj",
}
"""What Hugging Face calls them, written down once more; a family adds its norms."""

ROWS = 1000
"""Rows of the embedding that are compared at each of its ends."""

LAYERS = {0, 11, 17}
"""Layers that are compared: between them, every format that these models are stored in."""


class Oracle(gguf.GGUFReader):
    """The gguf package's reader without arrays, which would take seconds for a vocabulary."""

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        if raw_type != gguf.GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        element = gguf.GGUFValueType(self._get(orig_offs, np.uint32)[0])
        count, end = int(self._get(orig_offs + 4, np.uint64)[0]), orig_offs + 12
        if element != gguf.GGUFValueType.STRING:
            end += count * np.dtype(self.gguf_scalar_to_np[element]).itemsize
        else:
            raw = memoryview(self.data.data)
            for _ in range(count):
                end += 8 + int.from_bytes(raw[end : end + 8], "little")
        return end - orig_offs, [], [], [gguf.GGUFValueType.ARRAY]


def translated(name: str, norms: dict[str, str]) -> str:
    parts = name.removesuffix(".weight").split(".")
    layer = parts[1] if len(parts) > 1 else ""
    return (NAMES | norms)[parts[-1]].format(layer) + ".weight"


def compared(path: Path, checkpoint: Checkpoint[Any], norms: dict[str, str]) -> Iterator[Any]:
    """Yield tensors: name, stored format, the gguf package's values and the library's."""
    for tensor in Oracle(path).tensors:
        name = translated(tensor.name, norms)
        assert checkpoint.tensors[name].storage_format == tensor.tensor_type.name
        if tensor.name.startswith("blk.") and int(tensor.name.split(".")[1]) not in LAYERS:
            continue
        data, actual = tensor.data, checkpoint.read(name, "bfloat16")
        if tensor.name == "token_embd.weight":
            data = np.concatenate([data[:ROWS], data[-ROWS:]])
            actual = torch.cat([actual[:ROWS], actual[-ROWS:]])
        expected = torch.from_numpy(gguf.dequantize(data, tensor.tensor_type).copy())
        yield tensor.name, tensor.tensor_type.name, expected, actual


class RealModel:
    """Tests that hold for every real model."""

    norms: ClassVar[dict[str, str]]

    @pytest.fixture
    def path(self) -> Path:
        raise NotImplementedError

    @pytest.fixture
    def checkpoint(self, path: Path) -> Checkpoint[Any]:
        return open_gguf(path, "real")

    def as_huggingface_has_it(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def test_every_number_is_the_gguf_package_s(self, path: Path, checkpoint: Checkpoint[Any]) -> None:
        formats = set()
        for name, stored_as, expected, actual in compared(path, checkpoint, self.norms):
            assert torch.equal(actual, self.as_huggingface_has_it(name, expected).bfloat16()), name
            formats.add(stored_as)
        assert formats == {tensor.storage_format for tensor in checkpoint.tensors.values()}

    def test_its_architecture_asks_for_these_tensors(self, checkpoint: Checkpoint[Any]) -> None:
        architecture = parse_config("real", checkpoint.config)
        family = family_of("real", checkpoint.config)
        joins = validate_mapping("real", architecture, family.weights, checkpoint.tensors)
        assert sum(len(join.hf_names) for join in joins) == len(checkpoint.tensors)


class TestSmolLM2(RealModel):
    norms: ClassVar[dict[str, str]] = {"ffn_norm": f"{LAYER}.post_attention_layernorm"}

    @pytest.fixture
    def path(self, smollm2_gguf: Path) -> Path:
        return smollm2_gguf

    def as_huggingface_has_it(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        heads = {"attn_q": 9, "attn_k": 3}.get(name.split(".")[-2])
        if heads is None:
            return tensor
        rows = np.arange(heads * 64).reshape(heads, 32, 2).swapaxes(1, 2).ravel()
        return tensor[torch.from_numpy(rows)]

    def test_its_settings_are_those_of_its_repository_on_the_hub(self, checkpoint: Checkpoint[Any]) -> None:
        assert checkpoint.config == {
            "model_type": "llama",
            "pad_token_id": 2,
            "hidden_act": "silu",
            "num_hidden_layers": 30,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "max_position_embeddings": 8192,
            "rms_norm_eps": pytest.approx(1e-5),
            "rope_theta": 100000.0,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "head_dim": 64,
            "vocab_size": 49152,
            "tie_word_embeddings": True,
            "attention_bias": False,
            "mlp_bias": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        assert checkpoint.generation_config == {"bos_token_id": 1, "eos_token_id": [2]}


class TestGemma3(RealModel):
    norms: ClassVar[dict[str, str]] = {
        "ffn_norm": f"{LAYER}.pre_feedforward_layernorm",
        "post_attention_norm": f"{LAYER}.post_attention_layernorm",
        "post_ffw_norm": f"{LAYER}.post_feedforward_layernorm",
    }

    @pytest.fixture
    def path(self, gemma3_gguf: Path) -> Path:
        return gemma3_gguf

    def as_huggingface_has_it(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor - 1 if name.endswith("norm.weight") else tensor

    def test_its_settings_are_those_of_its_repository_on_the_hub(self, checkpoint: Checkpoint[Any]) -> None:
        assert checkpoint.config == {
            "model_type": "gemma3_text",
            "pad_token_id": 0,
            "hidden_activation": "gelu_pytorch_tanh",
            "num_hidden_layers": 18,
            "hidden_size": 640,
            "intermediate_size": 2048,
            "max_position_embeddings": 32768,
            "rms_norm_eps": pytest.approx(1e-6),
            "rope_theta": 1_000_000.0,
            "rope_local_base_freq": 10_000.0,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
            "sliding_window": 512,
            "sliding_window_pattern": 6,
            "vocab_size": 262144,
            "tie_word_embeddings": True,
            "bos_token_id": 2,
            "eos_token_id": 1,
        }


def test_reading_takes_hardly_more_memory_than_the_result(smollm2_gguf: Path) -> None:
    """Temporary memory is one step's, independent of the tensor size; torch reports allocations."""
    from torch.profiler import ProfilerActivity, profile

    checkpoint = open_gguf(smollm2_gguf, "smollm2")
    name = "model.layers.0.mlp.up_proj.weight"
    checkpoint.read(name, "bfloat16")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        tensor = checkpoint.read(name, "bfloat16")
    sizes = [event.cpu_memory_usage for event in recorded.events() if event.cpu_memory_usage > 0]
    sizes.remove(max(sizes))
    assert tensor.nbytes > 1_500_000
    assert max(sizes) < 200_000
