"""Tests of `LLM.save` and `init="random"`: saved models load, and untrained ones are created."""

import json
from pathlib import Path

import pytest
import torch

from litgpt import LLM
from litgpt.domain.errors import CorruptFile, ModelNotFound, NotDistributed, UnsupportedModel
from tests.adapters.tiny_models import tiny_folder

IDS = torch.tensor([[5, 6, 7]])


def on_cpu(llm: LLM) -> LLM:
    llm.distribute(accelerator="cpu", precision="32-true")
    return llm


def tiny(**settings: object) -> LLM:
    return on_cpu(LLM.load(tiny_folder("llama"), distribute=None, quiet=True, **settings))  # type: ignore[arg-type]


def test_a_saved_model_answers_as_it_did(tmp_path: Path) -> None:
    llm = tiny()
    llm.save(tmp_path / "new" / "folder")
    reloaded = on_cpu(LLM.load(tmp_path / "new" / "folder", distribute=None, quiet=True))
    assert reloaded.generate("hello", top_k=1) == llm.generate("hello", top_k=1)
    assert reloaded.prompt_style == llm.prompt_style


def test_trained_weights_are_saved(tmp_path: Path) -> None:
    llm = tiny()
    with torch.no_grad():
        for parameter in llm.parameters():
            parameter.mul_(1.5)
    expected = llm(IDS)
    llm.save(tmp_path)
    assert torch.allclose(on_cpu(LLM.load(tmp_path, distribute=None, quiet=True))(IDS), expected, atol=1e-5)


def test_a_model_may_be_saved_into_the_folder_it_is_mapped_from(tmp_path: Path) -> None:
    tiny().save(tmp_path)
    llm = on_cpu(LLM.load(tmp_path, distribute=None, quiet=True))
    expected = llm(IDS)
    llm.save(tmp_path)
    assert torch.equal(llm(IDS), expected)
    assert torch.equal(on_cpu(LLM.load(tmp_path, distribute=None, quiet=True))(IDS), expected)
    llm.close()
    with pytest.raises(CorruptFile, match="Load the model again"):
        on_cpu(llm)


def test_a_named_style_is_saved_and_otherwise_the_current_one_stays(tmp_path: Path) -> None:
    llm = tiny()
    llm.save(tmp_path / "a", prompt_style="alpaca")
    alpaca = on_cpu(LLM.load(tmp_path / "a", distribute=None, quiet=True))
    assert alpaca.prompt_style is not None
    assert alpaca.prompt_style.name == "alpaca"
    alpaca.save(tmp_path / "b")
    assert "Alpaca" in (tmp_path / "b" / "prompt_style.yaml").read_text()
    with pytest.raises(UnsupportedModel, match="alpacca"):
        llm.save(tmp_path / "c", prompt_style="alpacca")
    assert not (tmp_path / "c").exists()


def test_without_a_model_there_is_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(NotDistributed):
        LLM.load(tiny_folder("llama"), distribute=None, quiet=True).save(tmp_path)


def test_a_random_model_needs_only_a_config_and_follows_the_seed(tmp_path: Path) -> None:
    config = json.loads((tiny_folder("gpt_neox") / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))

    def logits(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        llm = LLM.load(
            tmp_path, init="random", tokenizer_dir=tiny_folder("llama"), distribute=None, quiet=True
        )
        result = on_cpu(llm)(IDS)
        assert isinstance(result, torch.Tensor)
        return result

    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))
    assert logits(1).std() < 1  # near the uniform distribution


def test_a_well_known_name_needs_no_network_and_the_repository_means_the_same(tmp_path: Path) -> None:
    for name in ("pythia-14m", "EleutherAI/pythia-14m"):
        llm = LLM.load(
            name, init="random", tokenizer_dir=tiny_folder("llama"), distribute=None, offline=True, quiet=True
        )
        assert llm.config.n_layer == 6
        assert llm.config.n_embd == 128
        assert llm.config.padded_vocab_size == 50304
        assert llm.model is None
    on_cpu(llm).save(tmp_path)
    assert on_cpu(LLM.load(tmp_path, distribute=None, quiet=True)).config.n_layer == 6
    assert (tmp_path / "tokenizer.json").is_file()


def test_a_random_model_of_an_unknown_name_lists_the_places_searched() -> None:
    with pytest.raises(ModelNotFound, match=r"config\.json in.*well-known models"):
        LLM.load("no-such-model", init="random", tokenizer_dir=tiny_folder("llama"), quiet=True)
