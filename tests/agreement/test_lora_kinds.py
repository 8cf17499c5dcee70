"""Tests of PEFT adapters of other layer types than linear: equal logits and gradients."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from litgpt import LLM
from tests.adapters.tiny_models import tiny_folder
from tests.agreement.models import random_ids
from tests.agreement.test_lora_peft import actual, close, reference

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning", "ignore::RuntimeWarning"
)

IDS = random_ids(2, 20)
LLAMA = ["q_proj", "v_proj"]
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "whole": ("llama", {"target_modules": LLAMA, "modules_to_save": ["embed_tokens", "lm_head", "norm"]}),
    "whole, rows of a fused layer": (
        "llama",
        {"target_modules": ["q_proj"], "modules_to_save": ["k_proj", "mlp"]},
    ),
    "whole, dealt out by group": (
        "gpt_neox",
        {
            "target_modules": ["dense_h_to_4h"],
            "modules_to_save": ["query_key_value", "embed_in", "layer_norm"],
        },
    ),
    "whole, on its side": ("gpt2", {"target_modules": ["mlp.c_fc"], "modules_to_save": ["c_attn", "ln_f"]}),
    "whole, with an offset": ("gemma", {"target_modules": LLAMA, "modules_to_save": ["input_layernorm"]}),
    "whole, the embedding of a tied model": (
        "gemma",
        {"target_modules": LLAMA, "modules_to_save": ["embed_tokens"]},
    ),
    "whole, tied": (
        "gemma",
        {"target_modules": LLAMA, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
    ),
    "whole, the router by its name in transformers 5": (
        "mixtral",
        {"target_modules": LLAMA, "modules_to_save": ["gate"]},
    ),
    "whole, experts that files have one by one": (
        "mixtral",
        {"target_modules": LLAMA, "modules_to_save": ["experts"]},
    ),
    "whole, router and experts": ("qwen3_moe", {"target_modules": LLAMA, "modules_to_save": ["mlp"]}),
    "whole, stacked experts": ("gpt_oss", {"target_modules": LLAMA, "modules_to_save": ["experts"]}),
    "embedding and head": ("llama", {"target_modules": [*LLAMA, "embed_tokens", "lm_head"]}),
    "embedding that is scaled": ("gemma", {"target_modules": [*LLAMA, "embed_tokens"]}),
    "embedding and head, tied": (
        "gemma",
        {"target_modules": [*LLAMA, "embed_tokens"], "ensure_weight_tying": True},
    ),
    "embedding and head, apart though tied": (
        "qwen2",
        {"target_modules": [*LLAMA, "embed_tokens", "lm_head"]},
    ),
    "positions": ("gpt2", {"target_modules": ["c_attn", "wte", "wpe"], "fan_in_fan_out": True}),
    "dora": ("llama", {"target_modules": [*LLAMA, "down_proj"], "use_dora": True}),
    "dora with biases": ("qwen2", {"target_modules": LLAMA, "use_dora": True}),
    "dora, embedding and head": (
        "llama",
        {"target_modules": [*LLAMA, "embed_tokens", "lm_head"], "use_dora": True, "use_rslora": True},
    ),
    "dora, an embedding that is scaled": ("gemma", {"target_modules": ["embed_tokens"], "use_dora": True}),
    "dora, fused": ("phi3", {"target_modules": ["qkv_proj", "gate_up_proj"], "use_dora": True}),
    "dora, dealt out by group": ("gpt_neox", {"target_modules": ["query_key_value"], "use_dora": True}),
    "dora, on its side": (
        "gpt2",
        {"target_modules": ["c_attn", "c_fc"], "use_dora": True, "fan_in_fan_out": True},
    ),
    "lora_bias": ("qwen2", {"target_modules": ["q_proj", "v_proj"], "lora_bias": True}),
    "lora_bias, on its side": (
        "gpt2",
        {"target_modules": ["c_attn"], "lora_bias": True, "fan_in_fan_out": True},
    ),
    "all biases": ("gpt_neox", {"target_modules": ["query_key_value"], "bias": "all"}),
    "biases of the targets": ("qwen2", {"target_modules": LLAMA, "bias": "lora_only"}),
    "tokens": ("llama", {"target_modules": LLAMA, "trainable_token_indices": [3, 250, 7]}),
    "tokens of each": (
        "llama",
        {"target_modules": LLAMA, "trainable_token_indices": {"embed_tokens": [3, 7], "lm_head": [3, 9]}},
    ),
    "tokens of a tied model": ("gemma", {"target_modules": LLAMA, "trainable_token_indices": [3, 7]}),
    "tokens of a tied model's head": (
        "gpt2",
        {"target_modules": ["c_attn"], "trainable_token_indices": {"wte": [3]}},
    ),
    "experts": ("mixtral", {"target_modules": LLAMA, "target_parameters": EXPERTS}),
    "one parameter of experts": ("qwen3_moe", {"target_parameters": EXPERTS[1:]}),
    "experts, inputs first": ("gpt_oss", {"target_modules": LLAMA, "target_parameters": EXPERTS}),
    "experts of all, the router": (
        "qwen3_moe",
        {"target_modules": LLAMA, "target_parameters": ["mlp.gate.weight"]},
    ),
    "a rank of its own": (
        "llama",
        {
            "target_modules": [*LLAMA, "embed_tokens"],
            "rank_pattern": {"embed_tokens": 2, r"layers\.[01]\.self_attn\.q_proj": 3},
            "alpha_pattern": {"^model.layers.2.self_attn.v_proj": 1},
        },
    ),
    "some layers": (
        "llama",
        {"target_modules": r".*\.[02]\.self_attn\.[qk]_proj", "exclude_modules": ["k_proj"]},
    ),
}


def with_peft(folder: Path, **settings: Any) -> Any:
    """Return a model with a PEFT adapter whose trained parameters are random."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    options = {"r": 4, "lora_alpha": 6, "task_type": "CAUSAL_LM", **settings}
    model = get_peft_model(reference(folder), LoraConfig(**options))
    randomize(model)
    return model.eval()


def randomize(model: Any) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        actual = model(IDS)
    return actual if isinstance(actual, Tensor) else actual.logits


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Save an adapter of one kind with PEFT, once: folders of its base and of it, its logits, the model."""
    saved_kinds: dict[str, tuple[Path, Path, Tensor, Any]] = {}

    def make(kind: str) -> tuple[Path, Path, Tensor, Any]:
        if kind not in saved_kinds:
            family, settings = KINDS[kind]
            folder, out = tiny_folder(family), tmp_path_factory.mktemp("adapter")
            peft = with_peft(folder, **settings)
            peft.save_pretrained(out)
            saved_kinds[kind] = folder, out, logits(peft), peft
        return saved_kinds[kind]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_exchanged_with_peft_in_both_directions(kind: str, saved: Any, tmp_path: Path) -> None:
    from peft import PeftModel

    base, folder, expected, _ = saved(kind)
    llm = actual(base)
    plain = logits(llm)
    llm.load_adapter(folder)
    assert close(logits(llm), expected)
    assert not close(plain, expected)
    llm.save_adapter(tmp_path)
    reloaded = PeftModel.from_pretrained(reference(base), str(tmp_path))
    assert close(logits(reloaded), expected)
    llm.set_adapter(None)
    assert torch.equal(logits(llm), plain)


@pytest.mark.parametrize(
    "family",
    [
        "deepseek_v3",
        "granitemoe",
        "granitemoehybrid",
        "llama4_text",
        "minimax_m2",
        "nemotron_h",
        "phimoe",
        "qwen3_next",
    ],
)
def test_experts_and_routers_have_the_names_that_transformers_5_gives_them(
    family: str, tmp_path: Path
) -> None:
    first = "up_proj" if family == "nemotron_h" else "gate_up_proj"  # experts without a gate
    names = [f"experts.{first}", "experts.down_proj", "gate.weight", "router.weight"]
    peft = with_peft(tiny_folder(family), target_parameters=names)
    peft.save_pretrained(tmp_path)
    llm = actual(tiny_folder(family))
    llm.load_adapter(tmp_path)
    expected = logits(peft)
    assert close(logits(llm), expected)
    assert close(logits(actual(tmp_path)), expected)


def test_an_adapter_of_transformers_4_has_a_pair_for_each_projection_of_each_expert(tmp_path: Path) -> None:
    from peft import PeftModel

    folder, tensors = tiny_folder("mixtral"), {}
    for name, value in load_file(folder / "model.safetensors").items():
        if "block_sparse_moe" in name:
            key = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(2, value.shape[1]) * 0.3
            tensors[f"{key}.lora_B.weight"] = torch.randn(value.shape[0], 2) * 0.3
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 2,
        "target_modules": ["gate", "w1", "w2", "w3"],
    }
    config["base_model_name_or_path"] = str(folder)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    expected = logits(PeftModel.from_pretrained(reference(folder), str(tmp_path)))
    llm = actual(folder)
    llm.load_adapter(tmp_path)
    assert close(logits(llm), expected)
    assert close(logits(actual(tmp_path)), expected)
    llm.save_adapter(tmp_path / "again")
    assert close(logits(PeftModel.from_pretrained(reference(folder), str(tmp_path / "again"))), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_and_a_saved_one_compute_the_same(kind: str, saved: Any, tmp_path: Path) -> None:
    base, folder, expected, _ = saved(kind)
    llm = actual(base)
    plain = logits(llm)
    llm.load_adapter(folder)
    llm.save(tmp_path)
    assert close(logits(actual(tmp_path)), expected)
    assert close(logits(reference(tmp_path)), expected)
    llm.merge_adapter()
    assert close(logits(llm), expected)
    llm.unmerge_adapter()
    assert close(logits(llm), expected)
    llm.set_adapter(None)
    assert torch.equal(logits(llm), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_of_an_adapter_is_the_model_that_it_makes(kind: str, saved: Any) -> None:
    _, folder, expected, _ = saved(kind)
    assert close(logits(actual(folder)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradients_are_those_of_peft(kind: str, saved: Any, tmp_path: Path) -> None:
    base, folder, _, peft = saved(kind)
    llm = actual(base)
    llm.load_adapter(folder, trainable=True)
    own, other = step(llm, tmp_path / "a"), step(peft, tmp_path / "b")
    assert own.keys() == {name for name in other if not name.endswith("base_layer.weight")}
    assert all(torch.allclose(own[name], other[name].float(), atol=1e-4) for name in own)


def step(model: Any, out: Path) -> dict[str, Tensor]:
    """Return the adapter's weights after an SGD step."""
    actual = model(IDS)
    actual = actual if isinstance(actual, Tensor) else actual.logits
    torch.nn.functional.cross_entropy(actual[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)
    torch.optim.SGD(trained, lr=0.1).step()
    (model.save_adapter if isinstance(model, LLM) else model.save_pretrained)(out)
    return load_file(out / "adapter_model.safetensors")
