"""Tests of tensor names with an additional or missing prefix level, as in transformers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from litgpt import LLM
from litgpt.domain.errors import CheckpointMismatch
from tests.adapters.tiny_models import tiny_folder, tiny_model
from tests.agreement.models import random_ids

SPELLINGS: dict[str, Callable[[str], str]] = {
    "without the first level": lambda name: name.removeprefix("model."),
    "with one too many": lambda name: f"model.{name}",
    "of DistributedDataParallel": lambda name: f"module.{name}",
    "of torch.compile": lambda name: f"_orig_mod.{name}",
    "of torch.compile, of each layer": lambda name: name.replace(".self_attn", "._orig_mod.self_attn"),
    "of DDP of a compiled model": lambda name: f"module._orig_mod.{name}",
    "of Lightning": lambda name: f"_forward_module.model.{name}",
    "of PEFT": lambda name: f"base_model.model.{name}",
    "of FSDP": lambda name: name.replace("layers.1.", "layers.1._fsdp_wrapped_module."),
    "of the text part of a model that sees": lambda name: f"language_model.{name}",
    "of the same, in transformers 5": lambda name: name.replace("model.", "model.language_model.", 1),
}


def respelled(folder: Path, spell: Callable[[str], str], family: str = "llama") -> Path:
    whole = tiny_folder(family)
    tensors = load_file(whole / "model.safetensors")
    save_file({spell(name): tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((whole / name).read_bytes())
    return folder


def load(folder: Path) -> LLM:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    return llm


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@torch.inference_mode()
def test_it_is_the_same_model(spell: Callable[[str], str], tmp_path: Path) -> None:
    ids = random_ids(1, 9)
    assert torch.equal(load(respelled(tmp_path, spell))(ids), load(tiny_folder("llama"))(ids))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "opt", "bloom", "gemma3_text", "falcon"])
@torch.inference_mode()
def test_a_base_model_saved_without_head_is_opened_if_tied(family: str, tmp_path: Path) -> None:
    """`AutoModel` omits the level that the model with a head adds."""
    model = tiny_model(family, tie_word_embeddings=True)
    model.base_model.save_pretrained(tmp_path)  # type: ignore[operator] # torch does not know what it is
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    (tmp_path / "tokenizer.json").write_bytes((tiny_folder("llama") / "tokenizer.json").read_bytes())
    ids = random_ids(1, 9)
    expected = model(ids).logits
    assert torch.allclose(load(tmp_path)(ids), expected, atol=1e-4 * float(expected.abs().max()))


def test_an_ambiguous_name_is_kept(tmp_path: Path) -> None:
    folder = respelled(tmp_path, str)
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "module.model.norm.weight": torch.ones(48)}, folder / "model.safetensors")
    with pytest.raises(CheckpointMismatch, match=r"1 unexpected: module\.model\.norm\.weight"):
        load(folder)
    norm = tensors.pop("model.norm.weight")
    both = {"module.model.norm.weight": torch.ones(48), "norm.weight": norm}
    save_file({**tensors, **both}, folder / "model.safetensors")
    with pytest.raises(CheckpointMismatch, match=r"1 missing: model\.norm\.weight; 2 unexpected"):
        load(folder)
