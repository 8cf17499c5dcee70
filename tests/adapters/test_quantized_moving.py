"""Tests of quantized layers after a change of device or dtype."""

import copy

import pytest
import torch

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
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
FAKEABLE = [quantization for quantization in QUANTIZATIONS if quantization != "bnb.int8"]


def layer(quantization: Quantization, *shape: int) -> QuantizedLinear:
    bias = torch.nn.Parameter(torch.linspace(-1, 1, shape[0]), requires_grad=False)
    return QUANTIZED_LINEARS[quantization].from_weight(weight(*shape), quantization, bias)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(64, 128), (48, 80), (9, 64)])
@pytest.mark.parametrize("quantization", FAKEABLE)
def test_a_layer_multiplies_where_it_was_moved_to(
    quantization: Quantization, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    linear = layer(quantization, *shape)
    with fake_cuda():
        on_cuda(linear, "cuda:1", dtype)
        assert {buffer.device for buffer in (*linear.buffers(), *linear.parameters())} == {
            torch.device("cuda:1")
        }
        for rows in (1, 40):
            x = torch.ones(2, rows, shape[1], device="cuda:1", dtype=dtype)
            with torch.no_grad():
                out = linear(x)
            assert (out.shape, out.device, out.dtype) == ((2, rows, shape[0]), x.device, dtype)
        for role in linear.storage_spec if not quantization.startswith("bnb") else ():
            assert linear.stored_tensor(role).device == x.device
        assert linear.dequantize().device == x.device


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_gradients_flow_through_a_moved_layer_and_into_its_neighbors(quantization: Quantization) -> None:
    linear = layer(quantization, 64, 96)
    use = LoraOptions(scaling=1.0, dropout=0.0, trainable=True)
    linear.lora = pair = LoraPair(torch.ones(4, 96), torch.ones(64, 4), start=0, options=use)
    with fake_cuda():
        on_cuda(linear, "cuda:0")
        x = torch.ones(2, 5, 96, device=CUDA, requires_grad=True)
        backward(pair.add_to(linear(x), x, linear).sum())
        for leaf in (x, pair.lora_A, pair.lora_B):
            assert leaf.grad is not None
            assert leaf.grad.device == CUDA


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_change_of_dtype_changes_what_a_layer_computes_in_and_not_its_weight(
    quantization: Quantization,
) -> None:
    linear = layer(quantization, 64, 128)
    reference, stored = linear.dequantize(), {name: buffer.dtype for name, buffer in linear.named_buffers()}
    for dtype in (torch.bfloat16, torch.float64, torch.float16, torch.float32):
        linear.to(dtype)
        assert {name: buffer.dtype for name, buffer in linear.named_buffers()} == stored
        assert torch.equal(linear.dequantize(), reference)
        assert linear.bias is not None
        assert linear.bias.dtype == dtype
    out = linear(torch.ones(1, 128))
    assert linear.bias is not None
    expected = reference.sum(1) + linear.bias
    assert (out[0] - expected).norm() < 2e-2 * expected.norm()


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_copy_and_a_state_dict_are_the_layer(quantization: Quantization) -> None:
    linear = layer(quantization, 64, 128)
    other = QUANTIZED_LINEARS[quantization].from_weight(torch.ones(64, 128), quantization, None)
    copied = copy.deepcopy(linear)
    assert torch.equal(copied.dequantize(), linear.dequantize())
    assert copied.get_buffer("codes").data_ptr() != linear.get_buffer("codes").data_ptr()
    other.load_state_dict(linear.state_dict(), strict=False)
    assert torch.equal(other.dequantize(), linear.dequantize())


@pytest.mark.parametrize("devices", [("cuda:0",), ("cuda:0", "cuda:1")])
@pytest.mark.parametrize("quantization", FAKEABLE)
def test_a_quantized_model_is_read_to_its_devices_and_trained_through(
    quantization: Quantization, devices: tuple[str, ...]
) -> None:
    cpu_block_size()
    checkpoint = open_hf_folder(tiny_folder("llama"), "tiny")
    resolved = resolve_model("tiny", checkpoint.config, checkpoint.tensors)
    with fake_cuda():
        placed = LayerSplit().build(
            Placement(devices=devices, dtype="bfloat16", quantize=quantization),
            resolved.architecture,
            resolved.sources,
            checkpoint,
            null_reporter,
        )
        model = placed.network
        assert {parameter.device for parameter in (*model.parameters(), *model.buffers())} == {
            torch.device(device) for device in devices
        }
        assert quantized_layers(model)
        ids = torch.zeros((2, 7), dtype=torch.long, device=CUDA)
        with torch.no_grad():
            assert model(ids).device == torch.device(devices[-1])
        embedding = model.get_parameter("transformer.wte.weight").requires_grad_()
        backward(model.loss(ids, ids))
        assert embedding.grad is not None
