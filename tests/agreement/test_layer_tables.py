"""Tests of per-layer settings as transformers 5 writes them: a table by layer index."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.domain.bridge import BridgedArchitecture
from litgpt.domain.errors import UnsupportedModel
from tests.adapters.tiny_models import VOCAB_SIZE, save_byte_tokenizer, tiny_folder
from tests.agreement.models import random_ids

_TWO_KINDS = ["sliding_attention", "full_attention"]
TABLES: dict[str, dict[str, Any]] = {
    "empty: all layers alike": {"num_hidden_layers": 2, "layer_types": _TWO_KINDS, "per_layer_config": {}},
    "key-value heads": {
        "num_hidden_layers": 2,
        "layer_types": _TWO_KINDS,
        "per_layer_config": {1: {"num_key_value_heads": 1, "head_dim": 16}},
    },
    "ten layers and more, with zeros before their numbers": {"num_hidden_layers": 12, "global_head_dim": 16},
    "one of the windowed layers too": {
        "num_hidden_layers": 2,
        "layer_types": _TWO_KINDS,
        "per_layer_config": {0: {"head_dim": 16, "num_key_value_heads": 4}},
    },
    "layers that borrow, twice as wide": {
        "num_hidden_layers": 4,
        "layer_types": _TWO_KINDS * 2,
        "num_kv_shared_layers": 2,
        "use_double_wide_mlp": True,
        "per_layer_config": {1: {"head_dim": 12}, 3: {"head_dim": 12}},
    },
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@torch.inference_mode()
def test_a_gemma_4_follows_its_per_layer_table(table: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    written, saved = tmp_path / "written", tmp_path / "saved"
    reference = _gemma4(table)
    reference.save_pretrained(written)
    save_byte_tokenizer(written)
    ids = random_ids(1, 20)
    expected = reference(ids).logits
    llm = LLM.load(written, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    assert torch.allclose(llm(ids), expected, atol=1e-4 * float(expected.abs().max()))
    llm.save(saved)
    reloaded = AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32)
    assert torch.allclose(reloaded(ids).logits, expected, atol=1e-4 * float(expected.abs().max()))


def _gemma4(table: dict[str, Any]) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "gemma4_text",
        vocab_size=VOCAB_SIZE,
        hidden_size=48,
        intermediate_size=80,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,
        max_position_embeddings=256,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=VOCAB_SIZE,
        **table,
    )
    return AutoModelForCausalLM.from_config(config).eval()


@torch.inference_mode()
def test_a_table_is_read_for_a_family_that_transformers_does_not_build_with_one(tmp_path: Path) -> None:
    """With the same weights, a table of equal layers describes the same model."""
    whole = tiny_folder("qwen3")
    config = json.loads((whole / "config.json").read_text())
    table = {str(at): {"head_dim": config["head_dim"], "intermediate_size": 80} for at in range(3)}
    _beside(whole, tmp_path, config | {"per_layer_config": table, "head_dim": 4, "intermediate_size": 8})
    ids = random_ids(1, 12)
    first, other = (LLM.load(folder, distribute=None, quiet=True) for folder in (whole, tmp_path))
    for llm in (first, other):
        llm.distribute(accelerator="cpu", precision="32-true")
    assert torch.equal(first(ids), other(ids))


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"hidden_size": 96}, r"per_layer_config\[1\]\.hidden_size = 96"),
        ({"rope_theta": 5.0}, r"per_layer_config\[1\]\.rope_theta = 5\.0"),
    ],
)
def test_an_entry_that_is_not_implemented_is_refused_by_name(
    entry: dict[str, Any], named: str, tmp_path: Path
) -> None:
    whole = tiny_folder("llama")
    config = json.loads((whole / "config.json").read_text())
    _beside(whole, tmp_path, config | {"per_layer_config": {"1": entry}})
    with pytest.raises(UnsupportedModel, match=named):
        LLM.load(tmp_path, distribute=None, quiet=True)


def test_an_entry_that_only_transformers_implements_is_computed_by_it(tmp_path: Path) -> None:
    whole = tiny_folder("llama")
    config = json.loads((whole / "config.json").read_text())
    _beside(whole, tmp_path, config | {"per_layer_config": {"1": {"skip": ["mlp"]}}})
    with LLM.load(tmp_path, distribute=None, quiet=True) as llm:
        architecture = llm._loaded.architecture
        assert isinstance(architecture, BridgedArchitecture)
        assert "per_layer_config[1].skip = ['mlp']" in architecture.reason


def _beside(whole: Path, folder: Path, config: dict[str, Any]) -> None:
    """Write a folder with another folder's weights and its own config."""
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).symlink_to(whole / name)
