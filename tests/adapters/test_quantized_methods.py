"""Tests of quantized folders of other families: with biases, and multimodal ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.domain.errors import InvalidArgument, UnsupportedModel
from litgpt.domain.families import resolve_model
from tests.adapters.packed_weights import pack_gptq, write_folder, write_packed
from tests.adapters.test_quantized_awq_gptq import GPTQ
from tests.adapters.test_quantized_bitsandbytes import BNB, pack_bnb


def multimodal_config(folder: Path, settings: Any, *, inside: bool) -> None:
    """Return the config of a multimodal model with this text model."""
    text = json.loads((folder / "config.json").read_text())
    del text["quantization_config"]
    whole = {"model_type": "gemma3", "text_config": text, "tie_word_embeddings": True}
    (text if inside else whole)["quantization_config"] = settings
    (folder / "config.json").write_text(json.dumps(whole))


def check(folder: Path, expected: dict[str, Tensor]) -> None:
    checkpoint = open_hf_folder(folder, "tiny")
    assert resolve_model("tiny", checkpoint.config, checkpoint.tensors).sources
    for name, tensor in expected.items():
        assert torch.equal(checkpoint.read(name), tensor), name


def test_biases_that_a_family_has_are_kept(tmp_path: Path) -> None:
    expected = write_packed(tmp_path / "packed", pack_gptq(16), GPTQ, family="qwen2")
    assert any(name.endswith("q_proj.bias") and tensor.any() for name, tensor in expected.items())
    check(tmp_path / "packed", expected)


NAMED: dict[str, Callable[[str], str]] = {
    "an outer level": lambda usual: f"language_model.{usual}",
    "an inner level": lambda usual: f"model.language_model.{usual.removeprefix('model.')}",
}


@pytest.mark.parametrize("inside", [False, True], ids=["said outside", "said inside"])
@pytest.mark.parametrize("named", NAMED.values(), ids=NAMED)
def test_the_text_part_of_a_multimodal_model_is_dequantized(
    tmp_path: Path, named: Callable[[str], str], *, inside: bool
) -> None:
    folder = tmp_path / "packed"
    expected = write_packed(folder, pack_bnb(nested=True), BNB, family="gemma3_text", rename=named)
    seeing, _ = pack_bnb()("vision_tower.q_proj.weight", np.ones((64, 64), np.float32))
    write_folder(folder, {**load_file(folder / "model.safetensors"), **seeing}, BNB)
    multimodal_config(folder, BNB, inside=inside)
    check(folder, expected)
    assert "quantization_config" not in json.dumps(open_hf_folder(folder, "tiny").config)


def test_a_tensor_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_packed(tmp_path / "packed", pack_gptq(16), GPTQ)
    checkpoint = open_hf_folder(tmp_path / "packed", "tiny")
    for name in ("no.such.tensor", "model.layers.0.mlp.down_proj.qweight"):
        with pytest.raises(InvalidArgument, match=name):
            checkpoint.read(name)


def test_a_family_that_is_not_implemented_is_refused_by_its_name(tmp_path: Path) -> None:
    write_packed(tmp_path / "packed", pack_bnb(), BNB)
    config = json.loads((tmp_path / "packed" / "config.json").read_text())
    (tmp_path / "packed" / "config.json").write_text(json.dumps({**config, "model_type": "unheard_of"}))
    with pytest.raises(UnsupportedModel, match="unheard_of"):
        open_hf_folder(tmp_path / "packed", "tiny")
