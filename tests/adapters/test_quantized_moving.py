"""Quantized layers on other devices and in other dtypes than those that they were made on and in."""

import copy

import pytest
import torch

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.distribution.single_device import SingleDevice
from litgpt.adapters.pytorch.lora.layer import LoraOptions, LoraPair
from litgpt.adapters.pytorch.quantization.int4 import cpu_block_size
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.adapters.pytorch.quantization.registry import QUANTIZED_LINEARS, quantized_layers
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import resolve_model
from litgpt.domain.progress import null_reporter
from litgpt.domain.quantization import QUANTIZATIONS, Quantization
from tests.adapters.fake_cuda import backward, fake_cuda, on_cuda
from tests.adapters.test_quantized_layers import weight
from tests.adapters.tiny_models import tiny_folder

CUDA = torch.device("cuda:0")
# Its own product looks for outliers, the number of which a fake tensor does not have.
FAKEABLE = [one for one in QUANTIZATIONS if one != "bnb.int8"]


def layer(how: Quantization, *shape: int) -> QuantizedLinear:
    bias = torch.nn.Parameter(torch.linspace(-1, 1, shape[0]), requires_grad=False)
    return QUANTIZED_LINEARS[how].from_weight(weight(*shape), how, bias)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(64, 128), (48, 80), (9, 64)])
@pytest.mark.parametrize("how", FAKEABLE)
def test_a_layer_multiplies_where_it_was_moved_to(
    how: Quantization, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    made = layer(how, *shape)
    with fake_cuda():
        on_cuda(made, "cuda:1", dtype)
        assert {one.device for one in (*made.buffers(), *made.parameters())} == {torch.device("cuda:1")}
        for rows in (1, 40):
            x = torch.ones(2, rows, shape[1], device="cuda:1", dtype=dtype)
            with torch.no_grad():
                out = made(x)
            assert (out.shape, out.device, out.dtype) == ((2, rows, shape[0]), x.device, dtype)
        for role in made.storage_spec if not how.startswith("bnb") else ():
            assert made.stored_tensor(role).device == x.device
        assert made.dequantize().device == x.device


@pytest.mark.parametrize("how", QUANTIZATIONS)
def test_gradients_go_through_a_moved_layer_and_into_what_is_beside_it(how: Quantization) -> None:
    made = layer(how, 64, 96)
    use = LoraOptions(scaling=1.0, dropout=0.0, trainable=True)
    made.lora = pair = LoraPair(torch.ones(4, 96), torch.ones(64, 4), start=0, options=use)
    with fake_cuda():
        on_cuda(made, "cuda:0")
        x = torch.ones(2, 5, 96, device=CUDA, requires_grad=True)
        backward(pair.add_to(made(x), x, made).sum())
        for leaf in (x, pair.lora_A, pair.lora_B):
            assert leaf.grad is not None
            assert leaf.grad.device == CUDA


@pytest.mark.parametrize("how", QUANTIZATIONS)
def test_a_change_of_dtype_changes_what_a_layer_computes_in_and_not_its_weight(how: Quantization) -> None:
    made = layer(how, 64, 128)
    meant, stored = made.dequantize(), {name: one.dtype for name, one in made.named_buffers()}
    for dtype in (torch.bfloat16, torch.float64, torch.float16, torch.float32):
        made.to(dtype)
        assert {name: one.dtype for name, one in made.named_buffers()} == stored
        assert torch.equal(made.dequantize(), meant)
        assert made.bias is not None
        assert made.bias.dtype == dtype
    out = made(torch.ones(1, 128))
    assert made.bias is not None
    expected = meant.sum(1) + made.bias
    assert (out[0] - expected).norm() < 2e-2 * expected.norm()


@pytest.mark.parametrize("how", QUANTIZATIONS)
def test_a_copy_and_a_state_dict_are_the_layer(how: Quantization) -> None:
    made, other = layer(how, 64, 128), QUANTIZED_LINEARS[how].from_weight(torch.ones(64, 128), how, None)
    again = copy.deepcopy(made)
    assert torch.equal(again.dequantize(), made.dequantize())
    assert again.get_buffer("codes").data_ptr() != made.get_buffer("codes").data_ptr()
    other.load_state_dict(made.state_dict(), strict=False)
    assert torch.equal(other.dequantize(), made.dequantize())


@pytest.mark.parametrize("devices", [("cuda:0",), ("cuda:0", "cuda:1")])
@pytest.mark.parametrize("how", FAKEABLE)
def test_a_quantized_model_is_read_to_its_devices_and_trained_through(
    how: Quantization, devices: tuple[str, ...]
) -> None:
    cpu_block_size()
    checkpoint = open_hf_folder(tiny_folder("llama"), "tiny")
    found = resolve_model("tiny", checkpoint.config, checkpoint.tensors)
    strategy = SingleDevice() if len(devices) == 1 else LayerSplit()
    with fake_cuda():
        model = strategy.build(
            Placement(devices=devices, dtype="bfloat16", quantize=how),
            found.architecture,
            found.sources,
            checkpoint,
            null_reporter,
        )
        assert {one.device for one in (*model.parameters(), *model.buffers())} == {
            torch.device(one) for one in devices
        }
        assert quantized_layers(model)
        ids = torch.zeros((2, 7), dtype=torch.long, device=CUDA)
        with torch.no_grad():
            assert model(ids).device == torch.device(devices[-1])
        embedding = model.get_parameter("transformer.wte.weight").requires_grad_()
        backward(model.loss(ids, ids))
        assert embedding.grad is not None
