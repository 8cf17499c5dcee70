"""Tests of LoRA against PEFT, loading and saving: equal logits and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from litgpt import LLM
from litgpt.domain.families import FAMILIES
from tests.adapters.tiny_models import tiny_folder
from tests.agreement.models import random_ids

# PEFT uses a deprecated transformers interface, and warns about some settings.
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning", "ignore::RuntimeWarning"
)

IDS = random_ids(2, 20)

# In these, PEFT 0.21 confuses the names of a dense MLP with those of the experts, which are parameters.
TAKEN_FOR_EXPERTS = (
    "deepseek_v2",
    "deepseek_v3",
    "glm4_moe",
    "mellum",
    "axk2",
    "deepseek_v32",
    "glm4_moe_lite",
    "glm_moe_dsa",
    "longcat_flash",
    "sarvam_mla",
    "qwen3_next",
    "ernie4_5_moe",
    "dots1",
    "hunyuan_v1_moe",
    "exaone_moe",
    "solar_open",
    "afmoe",
    "mimo_v2_flash",
    "cohere2_moe",
    "granitemoe_swa",
    "hy_v3",
    "sarvam_moe",
    "aria_text",
    "flint",
    "kolibri1",
)

# transformers loads their tensors under other names, which PEFT's adapters of transformers' model have;
# published ones have the names of the file, as in this library.
RENAMED = ("exaone", "sarvam_moe")
SAME_NAMES = [family for family in FAMILIES if family not in RENAMED]

DENSE = {"gate_proj", "up_proj", "down_proj"}

SOME = ("llama", "gpt_neox", "gpt2", "qwen2", "phi3", "gemma", "falcon", "deepseek_v3", "qwen3_next")


def actual(folder: Path) -> LLM:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    return llm


def reference(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


def with_peft(folder: Path, **settings: Any) -> Any:
    """Return a model with a random PEFT adapter, A and B."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = get_peft_model(reference(folder), LoraConfig(task_type="CAUSAL_LM", **settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    return model.eval()


def randomize(llm: LLM) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in llm.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.1)


def close(actual: Any, expected: Tensor) -> bool:
    assert isinstance(actual, Tensor)
    return torch.allclose(actual, expected, atol=1e-4 * float(expected.abs().max()))


def targets(family: str) -> list[str]:
    """Return the supported targets of a family, in PEFT's names."""
    llm = actual(tiny_folder(family))
    llm.add_lora(targets="all-linear")
    adapters = llm._adapters
    assert adapters is not None
    result = adapters.export("default").targets
    return [value for value in result if family not in TAKEN_FOR_EXPERTS or value not in DENSE]


def transposed(family: str) -> bool:
    return family in ("gpt2", "openai-gpt")


@pytest.mark.parametrize("family", SAME_NAMES)
def test_an_adapter_saved_by_peft_computes_the_same(family: str, tmp_path: Path) -> None:
    folder = tiny_folder(family)
    names = targets(family)
    peft = with_peft(folder, r=4, lora_alpha=6, target_modules=names, fan_in_fan_out=transposed(family))
    peft.save_pretrained(tmp_path)
    llm = actual(folder)
    plain = llm(IDS)
    llm.load_adapter(tmp_path)
    with torch.no_grad():
        expected = peft(IDS).logits
        assert close(llm(IDS), expected)
        assert close(llm(IDS[:, :4]), peft(IDS[:, :4]).logits)  # few tokens: another way through some layers
    assert not close(plain, expected)


@pytest.mark.parametrize("family", SAME_NAMES)
def test_peft_computes_the_same_with_a_saved_adapter(family: str, tmp_path: Path) -> None:
    from peft import PeftModel

    folder = tiny_folder(family)
    llm = actual(folder)
    llm.add_lora(rank=4, alpha=6, targets=targets(family))
    randomize(llm)
    llm.save_adapter(tmp_path)
    peft = PeftModel.from_pretrained(reference(folder), str(tmp_path))
    with torch.no_grad():
        expected = peft(IDS).logits
        assert close(llm(IDS), expected)
        llm.merge_adapter()
        assert close(llm(IDS), expected)


@pytest.mark.parametrize("family", SOME)
def test_the_gradients_are_those_of_peft(family: str, tmp_path: Path) -> None:
    folder = tiny_folder(family)
    names = targets(family)
    peft = with_peft(folder, r=4, target_modules=names, use_rslora=True, fan_in_fan_out=transposed(family))
    peft.save_pretrained(tmp_path / "peft")
    llm = actual(folder)
    llm.load_adapter(tmp_path / "peft", trainable=True)
    own = _step(llm, llm(IDS), tmp_path / "a")
    other = _step(peft, peft(IDS).logits, tmp_path / "b")
    assert own.keys() == other.keys()
    assert all(torch.allclose(own[name], other[name], atol=1e-5) for name in own)


def _step(model: Any, logits: Any, out: Path) -> dict[str, Tensor]:
    """Return the adapter's weights after an SGD step."""
    from safetensors.torch import load_file

    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)
    torch.optim.SGD(trained, lr=0.1).step()
    (model.save_adapter if isinstance(model, LLM) else model.save_pretrained)(out)
    return load_file(out / "adapter_model.safetensors")
