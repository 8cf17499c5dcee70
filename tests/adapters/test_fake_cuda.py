"""Tests of models on CUDA devices with fake tensors (devices, dtypes, shapes), and of the harness itself."""

import pytest
import torch
from torch import nn

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import resolve_model
from litgpt.domain.progress import null_reporter
from tests.adapters.fake_cuda import backward, fake_cuda, on_cuda
from tests.adapters.tiny_models import tiny_folder

CUDA = torch.device("cuda:0")


def test_a_mixture_of_devices_raises() -> None:
    linear = nn.Linear(4, 3)
    with fake_cuda(), pytest.raises(Exception, match=r"two devices, (cuda:0 and cpu|cpu and cuda:0)"):
        linear(torch.ones(2, 4, device=CUDA))


def test_cpu_operators_and_item_are_refused() -> None:
    with fake_cuda():
        x = torch.ones(1, 32, device=CUDA, dtype=torch.bfloat16)
        codes = torch.zeros(32, 16, device=CUDA, dtype=torch.uint8)
        with pytest.raises(AssertionError, match="is of CPUs"):
            torch._weight_int4pack_mm_for_cpu(x, codes, 32, torch.ones(1, 32, 2, device=CUDA))
        with pytest.raises(Exception, match="_local_scalar_dense"):
            x.sum().item()


def test_gradients_arrive_where_the_parameters_are() -> None:
    linear = nn.Linear(4, 3, bias=True)
    with fake_cuda():
        on_cuda(linear)
        x = torch.ones(2, 5, 4, device=CUDA, requires_grad=True)
        backward((linear(x).relu() * 2 + linear(x)).sum())
        for leaf in (*linear.parameters(), x):
            assert leaf.grad is not None
            assert (leaf.grad.shape, leaf.grad.device) == (leaf.shape, CUDA)


def test_a_shared_parameter_stays_shared() -> None:
    model = nn.ModuleDict({"a": nn.Linear(4, 4, bias=False), "b": nn.Linear(4, 4, bias=False)})
    model["b"].weight = model["a"].weight
    with fake_cuda():
        on_cuda(model)
        assert model["b"].weight is model["a"].weight
        assert {parameter.device for parameter in model.parameters()} == {CUDA}


@pytest.mark.parametrize("devices", [("cuda:0",), ("cuda:0", "cuda:1")])
@pytest.mark.parametrize("family", ["llama", "gemma"])  # an untied head, and a tied one
def test_a_model_is_read_to_its_devices_and_trains_there(devices: tuple[str, ...], family: str) -> None:
    checkpoint = open_hf_folder(tiny_folder(family), "tiny")
    resolved = resolve_model("tiny", checkpoint.config, checkpoint.tensors)
    with fake_cuda():
        placed = LayerSplit().build(
            Placement(devices=devices, dtype="bfloat16"),
            resolved.architecture,
            resolved.sources,
            checkpoint,
            null_reporter,
        )
        model = placed.network
        assert {parameter.device for parameter in model.parameters()} == {
            torch.device(device) for device in devices
        }
        ids = torch.zeros((2, 7), dtype=torch.long, device=CUDA)
        head = torch.device(devices[0] if resolved.architecture.tie_word_embeddings else devices[-1])
        assert model(ids).device == head
        model.requires_grad_()
        loss = model.loss(ids, ids)
        backward(loss)
        assert loss.device == head
        for parameter in model.parameters():
            assert parameter.grad is not None
            assert parameter.grad.device == parameter.device
