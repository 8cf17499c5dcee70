"""Tests of a head that the config ties to the embedding, and that the checkpoint stores nevertheless.

As in transformers 5, a head that differs is used; an equal one stays tied.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from dependency_injector import providers
from safetensors.torch import load_file, save_file
from torch import Tensor

from litgpt import LLM
from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.hub.store import HubStore
from litgpt.adapters.pytorch.ops.tensor_equality import tensors_equal
from litgpt.application.describe_model import DescribeModel
from litgpt.container import container
from litgpt.domain.errors import CheckpointMismatch
from litgpt.domain.reference import ModelReference
from tests.adapters.litgpt_writer import litgpt_state, settings_of, write_litgpt_folder
from tests.adapters.loopback_hub import LoopbackHub
from tests.adapters.tiny_models import save_byte_tokenizer, tiny_folder
from tests.agreement.models import random_ids

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
IDS = random_ids(1, 12)


def folder_with(head: Tensor | None, folder: Path, family: str = "llama", **config: Any) -> Path:
    """Return a folder whose config ties the head, and that stores this head; None for a differing one."""
    whole = tiny_folder(family, tied=True)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = load_file(whole / "model.safetensors")
    own = tensors[EMBEDDING].flip(0).contiguous() if head is None else head
    save_file({**tensors, HEAD: own}, folder / "model.safetensors", metadata={"format": "pt"})
    index = json.loads((whole / "config.json").read_text())
    assert index["tie_word_embeddings"]
    (folder / "config.json").write_text(json.dumps(index | config))
    (folder / "tokenizer.json").write_bytes((whole / "tokenizer.json").read_bytes())
    return folder


@pytest.fixture(scope="module")
def differing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_with(None, tmp_path_factory.mktemp("differing"))


@pytest.fixture(scope="module")
def expected(differing: Path) -> Tensor:
    return logits_of_transformers(differing)


@torch.inference_mode()
def logits_of_transformers(folder: Path) -> Tensor:
    from transformers import AutoModelForCausalLM

    actual: Tensor = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(IDS).logits
    return actual


def load(model: str | Path, **options: Any) -> LLM:
    llm = LLM.load(model, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true", **options)
    return llm


@torch.inference_mode()
def agrees(llm: LLM, expected: Tensor) -> bool:
    return torch.allclose(llm(IDS), expected, atol=1e-4 * float(expected.abs().max()))


def is_tied(llm: LLM) -> bool:
    assert llm.model is not None
    named = dict(llm.model.named_parameters(remove_duplicate=False))
    return named["lm_head.weight"] is named["transformer.wte.weight"]


@pytest.mark.parametrize(
    "options",
    [{}, {"devices": 2, "generate_strategy": "tensor_parallel"}],
    ids=["one device", "tensor parallel"],
)
def test_a_differing_head_is_used(differing: Path, expected: Tensor, options: dict[str, Any]) -> None:
    with load(differing, **options) as llm:
        assert agrees(llm, expected)
        assert not is_tied(llm)


def test_a_differing_head_is_reported_once(differing: Path, capfd: pytest.CaptureFixture[str]) -> None:
    llm = LLM.load(differing, distribute=None, quiet=False)
    llm.distribute(accelerator="cpu", precision="32-true")
    llm.distribute(accelerator="cpu", precision="32-true")
    assert capfd.readouterr().err.count("ties the LM head to the embedding") == 1


def test_a_saved_model_with_a_differing_head_is_untied(
    differing: Path, expected: Tensor, tmp_path: Path
) -> None:
    load(differing).save(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is False
    assert torch.equal(logits_of_transformers(tmp_path), expected)
    assert agrees(load(tmp_path), expected)


def test_it_is_trained_and_quantized_apart_from_the_embedding(differing: Path, expected: Tensor) -> None:
    llm = LLM.load(differing, distribute=None, quiet=True)
    llm.trainer_setup()
    assert agrees(llm, expected)
    assert not is_tied(llm)
    quantized = load(differing, quantize="int8")
    assert quantized.model is not None
    head = dict(quantized.model.named_parameters())["lm_head.weight"]
    assert torch.equal(head, load_file(differing / "model.safetensors")[HEAD])


def test_an_equal_head_stays_tied(tmp_path: Path) -> None:
    embedding = load_file(tiny_folder("llama", tied=True) / "model.safetensors")[EMBEDDING]
    llm = load(folder_with(embedding.clone(), tmp_path / "equal"))
    assert is_tied(llm)
    llm.save(tmp_path / "saved")
    assert HEAD not in load_file(tmp_path / "saved" / "model.safetensors")


def test_a_head_in_another_dtype_is_compared_by_value(tmp_path: Path) -> None:
    embedding = load_file(tiny_folder("llama", tied=True) / "model.safetensors")[EMBEDDING]
    rounded = load(folder_with(embedding.to(torch.bfloat16), tmp_path / "rounded"))
    exact = load(folder_with(embedding.double(), tmp_path / "exact"))
    assert [is_tied(rounded), is_tied(exact)] == [False, True]


def test_a_head_of_another_shape_is_refused_as_in_transformers(tmp_path: Path) -> None:
    folder = folder_with(torch.zeros(4, 48), tmp_path)
    with pytest.raises(CheckpointMismatch, match=r"lm_head\.weight is \[4, 48\], expected \[288, 48\]"):
        LLM.load(folder, distribute=None, quiet=True)
    with pytest.raises(RuntimeError):
        logits_of_transformers(folder)


def test_a_stored_head_alone_is_the_embedding_too(tmp_path: Path) -> None:
    whole = tiny_folder("llama", tied=True)
    tensors = load_file(whole / "model.safetensors")
    folder = folder_with(None, tmp_path)
    tensors[HEAD] = tensors.pop(EMBEDDING)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert agrees(load(folder), logits_of_transformers(whole))


def test_an_untied_model_without_a_head_is_an_error(tmp_path: Path) -> None:
    whole = tiny_folder("llama", tied=True)
    folder = folder_with(None, tmp_path, tie_word_embeddings=False)
    save_file(load_file(whole / "model.safetensors"), folder / "model.safetensors")
    with pytest.raises(CheckpointMismatch, match=r"1 missing: lm_head\.weight"):
        LLM.load(folder, distribute=None, quiet=True)


def test_a_litgpt_folder_keeps_it_and_is_converted_with_it(
    differing: Path, expected: Tensor, tmp_path: Path
) -> None:
    from litgpt.domain.progress import null_reporter

    state = litgpt_state("llama", load_file(differing / "model.safetensors"))
    folder = write_litgpt_folder(tmp_path / "litgpt", settings_of("llama"), state)
    shutil.copy(differing / "config.json", folder)  # which ties the head
    save_byte_tokenizer(folder)
    assert agrees(load(folder), expected)
    container.convert_model()(ModelReference(str(folder)), tmp_path / "converted", null_reporter)
    assert torch.equal(logits_of_transformers(tmp_path / "converted"), expected)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    folder_with(None, tmp_path / "hub" / "org" / "tiny")
    with LoopbackHub(tmp_path / "hub") as running:
        store: HubStore[Any] = HubStore(
            open_hf_folder, endpoint=running.endpoint, cache_dir=tmp_path / "cache"
        )
        with container.store.override(providers.Object(store)):
            yield running


def test_a_hub_models_head_is_compared_after_the_download(hub: LoopbackHub, expected: Tensor) -> None:
    file = "org/tiny/model.safetensors"
    described = DescribeModel(container.store())(ModelReference("org/tiny"))
    assert described.architecture.tie_word_embeddings
    assert any("also contains an LM head" in note for note in described.notes)
    header = hub.sent.pop(file)
    assert agrees(load("org/tiny"), expected)
    assert hub.sent[file] == header + (hub.root / file).stat().st_size


def test_tensors_are_equal_by_their_numbers() -> None:
    tensor = torch.arange(6.0).view(3, 2)
    assert tensors_equal(tensor, tensor.clone())
    assert tensors_equal(tensor, tensor.to(torch.bfloat16))
    assert not tensors_equal(tensor, tensor.view(2, 3))
    assert not tensors_equal(tensor, tensor + torch.tensor([0, 1e-6]))
    assert not tensors_equal(tensor.to(torch.bfloat16), tensor + 1e-3)
