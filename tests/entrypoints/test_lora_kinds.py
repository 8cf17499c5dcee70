"""Tests of adapters of every kind on an LLM: created, trained, saved, resumed, refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from litgpt import LLM
from litgpt.domain.errors import InvalidArgument, InvalidCheckpoint, UnsupportedOperation
from tests.adapters.tiny_models import tiny_folder
from tests.agreement.models import random_ids

# PEFT uses a deprecated transformers interface, and warns about some settings.
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning", "ignore::RuntimeWarning"
)

IDS = random_ids(2, 12)

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "whole": ("llama", {"modules_to_save": ["embed_tokens", "lm_head", "norm"]}),
    "whole, tied": ("gemma", {"modules_to_save": ["lm_head"], "ensure_weight_tying": True}),
    "whole, a part of a layer": ("gpt_neox", {"targets": ["dense"], "modules_to_save": "query_key_value"}),
    "embedding and head": ("llama", {"targets": ["embed_tokens", "lm_head"]}),
    "head, tied": ("gemma", {"targets": ["q_proj", "lm_head"], "ensure_weight_tying": True}),
    "dora": ("llama", {"targets": ["q_proj", "embed_tokens", "lm_head"], "use_dora": True, "dropout": 0.1}),
    "dora, on its side": ("gpt2", {"targets": "all-linear", "use_dora": True}),
    "lora_bias": ("qwen2", {"lora_bias": True}),
    "biases": ("gpt2", {"bias": "all"}),
    "tokens": ("llama", {"trainable_token_indices": {"embed_tokens": [5], "lm_head": [5, 6]}}),
    "tokens, tied": ("gemma", {"trainable_token_indices": [5, 250]}),
    "experts": ("mixtral", {"target_parameters": ["experts.gate_up_proj", "experts.down_proj"]}),
    "a router": ("qwen3_moe", {"targets": "q_proj", "target_parameters": ["mlp.gate.weight"]}),
}


def loaded(family: str = "llama", **options: Any) -> LLM:
    llm = LLM.load(tiny_folder(family), distribute=None, quiet=True)
    llm.distribute(**{"accelerator": "cpu", "precision": "32-true", **options})
    return llm


def trained(llm: LLM) -> dict[str, Tensor]:
    return {
        name.removeprefix("model."): parameter
        for name, parameter in llm.named_parameters()
        if parameter.requires_grad
    }


def logits(llm: LLM) -> Tensor:
    with torch.no_grad():
        actual = llm(IDS)
    assert isinstance(actual, Tensor)
    return actual


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_adapter_keeps_the_logits_trains_and_resumes(kind: str, tmp_path: Path) -> None:
    family, options = KINDS[kind]
    llm, reloaded = loaded(family), loaded(family)
    before, weights = logits(llm), {name: tensor.clone() for name, tensor in llm.state_dict().items()}
    llm.add_lora(rank=4, **options)
    reloaded.add_lora(rank=4, **options)
    assert torch.allclose(logits(llm), before, atol=1e-5)
    llm.train()
    optimizer = torch.optim.AdamW(trained(llm).values(), lr=0.02)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = llm.loss(IDS, IDS)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.95 * losses[0]
    assert all(tensor.grad is not None for tensor in trained(llm).values())
    llm.eval()
    after = logits(llm)
    assert torch.allclose(_cost(after), llm.loss(IDS, IDS), atol=1e-5)
    actual = reloaded.load_state_dict(
        {name: tensor.detach() for name, tensor in trained(llm).items()}, strict=False
    )
    assert not actual.unexpected_keys
    assert torch.equal(logits(reloaded), after)
    llm.save_adapter(tmp_path / "adapter")
    saved = loaded(family)
    saved.load_adapter(tmp_path / "adapter")
    assert torch.allclose(logits(saved), after, atol=1e-5)
    llm.set_adapter(None)
    assert torch.equal(logits(llm), before)
    assert all(
        torch.equal(tensor, weights[name]) for name, tensor in llm.state_dict().items() if name in weights
    )
    llm.delete_adapter("default")
    assert llm.state_dict().keys() == weights.keys()
    assert torch.equal(logits(llm), before)


def _cost(actual: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(actual[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())


@pytest.mark.parametrize("kind", KINDS)
def test_peft_opens_what_was_made_here(kind: str, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    family, options = KINDS[kind]
    llm = loaded(family)
    llm.add_lora(rank=4, **options)
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in trained(llm).values():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    llm.save_adapter(tmp_path)
    base = AutoModelForCausalLM.from_pretrained(tiny_folder(family), dtype=torch.float32)
    peft = PeftModel.from_pretrained(base, str(tmp_path))
    with torch.no_grad():
        expected = peft(IDS).logits
    assert torch.allclose(logits(llm), expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("quantization", ["int4", "bnb.nf4"])
@pytest.mark.parametrize("kind", ["whole", "dora", "tokens", "experts"])
def test_adapters_of_every_kind_train_beside_quantized_weights(
    kind: str, quantization: str, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    family, options = KINDS[kind]
    llm = loaded(family, quantize=quantization)
    before = logits(llm)
    llm.add_lora(rank=4, **options)
    assert torch.allclose(logits(llm), before, atol=1e-4)
    optimizer = torch.optim.AdamW(trained(llm).values(), lr=0.02)
    for _ in range(3):
        loss = llm.loss(IDS, IDS)
        loss.backward()
        optimizer.step()
    llm.save_adapter(tmp_path)
    reloaded = loaded(family, quantize=quantization)
    reloaded.load_adapter(tmp_path)
    assert torch.allclose(logits(reloaded), logits(llm), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modules_to_save": ["score"]}, "modules_to_save .*embed_tokens.* not 'score'"),
        ({"target_parameters": ["experts.down_proj"]}, "target_parameters .*none in this model"),
        ({"trainable_token_indices": [5000]}, "trainable_token_indices .*below 288"),
        ({"trainable_token_indices": {"q_proj": [1]}}, "trainable_token_indices .*embed_tokens"),
        ({"trainable_token_indices": [1], "modules_to_save": ["embed_tokens"]}, "trainable_token_indices"),
        ({"trainable_token_indices": [1, 1]}, "each id once"),
        ({"lora_bias": True, "use_dora": True}, "lora_bias"),
        ({"lora_bias": True, "targets": ["embed_tokens"]}, "lora_bias .*embed_tokens"),
        ({"bias": "some"}, "bias .*lora_only"),
    ],
)
def test_an_invalid_adapter_request_changes_nothing(options: dict[str, Any], message: str) -> None:
    llm = loaded()
    with pytest.raises(InvalidArgument, match=message):
        llm.add_lora(**options)
    assert llm.adapters == ()
    assert not any("lora" in name for name in llm.state_dict())


def test_a_quantized_module_is_not_trained_whole() -> None:
    with pytest.raises(UnsupportedOperation, match=r"k_proj\.weight is quantized"):
        loaded(quantize="int8").add_lora(modules_to_save=["k_proj"])


def test_a_bias_of_a_layer_without_bias_is_not_merged() -> None:
    llm = loaded()
    llm.add_lora(lora_bias=True)
    with pytest.raises(UnsupportedOperation, match="lora_bias"):
        llm.merge_adapter()


def test_a_module_that_the_model_does_not_have_is_named(tmp_path: Path) -> None:
    llm = loaded()
    llm.add_lora()
    llm.save_adapter(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.score.weight": torch.ones(2, 48)}, file)
    with pytest.raises(InvalidCheckpoint, match=r"score\.weight"):
        loaded().load_adapter(tmp_path)
    with pytest.raises(InvalidCheckpoint, match=r"score\.weight"):
        LLM.load(tmp_path, distribute=None, quiet=True)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {"modules_to_save": ["embed_tokens", "lm_head"]}),
        ("gemma", {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}),
        ("gemma", {}),
        ("llama", {"trainable_token_indices": [289, 290]}),
        ("gemma", {"trainable_token_indices": [289, 290]}),
        ("gpt_neox", {"target_modules": ["query_key_value"]}),
    ],
)
def test_an_adapter_with_a_larger_vocabulary_is_a_model(
    family: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_folder(family), dtype=torch.float32)
    model.resize_token_embeddings(296, mean_resizing=False)
    options = {"target_modules": ["q_proj"], **settings}
    peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **options))
    ids = torch.cat((IDS, torch.full((2, 1), 290)), 1)
    with torch.no_grad():
        for parameter in peft.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
        expected = peft(ids).logits
    peft.save_pretrained(str(tmp_path))
    with pytest.raises(InvalidCheckpoint, match=r"resized.*LLM\.load"):
        loaded(family).load_adapter(tmp_path)
    llm = LLM.load(tmp_path, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    with torch.no_grad():
        actual = llm(ids)
    assert torch.allclose(actual, expected, atol=1e-4 * float(expected.abs().max()))
