"""Tests of the load-balancing loss of mixture-of-experts models: transformers' value and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from litgpt import LLM
from litgpt.adapters.pytorch.training.router_aux_loss import RouterAuxLoss
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.training.router_aux_loss import ROUTER_AUX_LOSS_FAMILIES, router_loss_coefficient
from tests.adapters.tiny_models import FAMILIES, tiny_folder
from tests.entrypoints.training_runs import VARIED_LENGTHS, Reported, losses, trained, write_varied_lengths

IDS = torch.arange(24).view(2, 12) * 7 % 200
MASK = torch.ones(2, 12).masked_fill(torch.arange(24).view(2, 12) > 19, 0)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]


@pytest.mark.parametrize("family", sorted(ROUTER_AUX_LOSS_FAMILIES & set(FAMILIES)))
@pytest.mark.parametrize("checkpointing", [False, True])
def test_loss_and_gradients_are_those_of_transformers(
    family: str,
    checkpointing: bool,  # noqa: FBT001
) -> None:
    llm = LLM.load(tiny_folder(family), distribute=None, quiet=True)
    llm.trainer_setup()
    assert llm.model is not None
    llm.model.gradient_checkpointing = checkpointing
    routers = RouterAuxLoss()
    routers.watch(llm)
    routers.start()
    loss = llm.loss(IDS, IDS)
    balancing = routers.loss(MASK.flatten())
    (loss + 0.5 * balancing).backward()
    hf: Any = AutoModelForCausalLM.from_pretrained(tiny_folder(family), dtype=torch.float32)
    expected = hf(IDS, attention_mask=MASK, output_router_logits=True).aux_loss
    torch.testing.assert_close(balancing, expected, rtol=1e-4, atol=1e-5)
    plain = LLM.load(tiny_folder(family), distribute=None, quiet=True)
    plain.trainer_setup()
    plain.loss(IDS, IDS).backward()
    hf.zero_grad()
    expected.backward()
    gradients = {
        name: (value.grad - other.grad) / 0.5
        for (name, value), other in zip(llm.named_parameters(), plain.parameters(), strict=True)
        if value.grad is not None and other.grad is not None
    }
    gate = next(name for name in gradients if name.endswith("mlp.gate.weight"))
    layer = gate.split(".")[gate.split(".").index("h") + 1]
    hf_parameters = dict(hf.named_parameters())
    gradient = next(
        value.grad
        for name, value in hf_parameters.items()
        if f"layers.{layer}." in name
        and name.endswith((".gate.weight", ".router.weight", "router.layer.weight"))
        and value.shape == gradients[gate].shape
    )
    assert gradient is not None
    torch.testing.assert_close(gradients[gate], gradient, rtol=1e-2, atol=1e-4)


def test_a_step_adds_the_balancing_loss_once_for_any_accumulation(tmp_path: Path) -> None:
    reported = Reported()
    options = VARIED_LENGTHS | {
        "data": str(write_varied_lengths(tmp_path)),
        "max_steps": 2,
        "model": str(tiny_folder("mixtral")),
    }
    for batch, accumulate in ((2, 1), (1, 2)):
        out = str(tmp_path / f"{batch}")
        trained(tmp_path, batch_size=batch, accumulate=accumulate, out_dir=out, reported=reported, **options)
    assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "2"), rel=1e-3)
    assert not [notice for notice in reported.notices if "load-balancing" in notice]


def test_a_family_without_it_is_reported(tmp_path: Path) -> None:
    reported = Reported()
    trained(tmp_path, model=str(tiny_folder("deepseek_v3")), max_steps=1, reported=reported)
    assert [notice for notice in reported.notices if "without a load-balancing loss of its experts" in notice]
    reported = Reported()
    trained(tmp_path, max_steps=1, reported=reported, out_dir=str(tmp_path / "dense"))
    assert not [notice for notice in reported.notices if "load-balancing" in notice]


def test_the_coefficient_is_the_configs() -> None:
    assert router_loss_coefficient({"model_type": "mixtral"}) == 0.001
    assert router_loss_coefficient({"model_type": "mixtral", "router_aux_loss_coef": 0.02}) == 0.02
    assert router_loss_coefficient({"text_config": {"model_type": "qwen3_5_moe_text"}}) == 0.001
    assert router_loss_coefficient({"model_type": "deepseek_v3", "router_aux_loss_coef": 0.02}) == 0.0
    with pytest.raises(InvalidArgument, match="router_aux_loss_coef"):
        router_loss_coefficient({"model_type": "mixtral", "router_aux_loss_coef": "0.02"})
