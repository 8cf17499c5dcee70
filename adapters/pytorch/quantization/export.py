"""Convert quantized layers to the tensors of a checkpoint.

`litgpt-int8` and `litgpt-int4` store a weight `x` as `x.codes` and `x.scales`, in the layout of the weight;
`scales` has one value per row or per group. With 4 bits, two codes are packed in a byte along the last
dimension, the first in the low bits, and there is `x.zeros` with the shape of `x.scales`; a weight is
(code - 8) * scale + zero. bitsandbytes' 4-bit weights are stored in the format of bitsandbytes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.ops.tensor_views import to_hf_tensor
from litgpt.adapters.pytorch.quantization.bnb import Bnb4Linear
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.domain.quantization import BNB_BLOCK_SIZE, GROUP_SIZE, Quantization
from litgpt.domain.weights.mapping import HEAD_MODULES, TensorTarget
from litgpt.domain.weights.tensor_info import TensorInfo
from litgpt.domain.weights.tensor_view import TensorView

_STORAGE_FORMATS = {torch.int8: "I8", torch.uint8: "U8", torch.float32: "F32", torch.bfloat16: "BF16"}


@attrs.frozen
class StoredTensor:
    """A tensor of a checkpoint that is to be written: its header and the function that computes it."""

    info: TensorInfo
    read: Callable[[], Tensor]


QuantizedLayers = Mapping[str, QuantizedLinear]


def stored_tensors(
    name: str, targets: Sequence[TensorTarget], layers: QuantizedLayers, compute_dtype: torch.dtype
) -> dict[str, StoredTensor]:
    """Return the checkpoint tensors of a quantized weight with the Hugging Face name `name`.

    `compute_dtype` is that of the model's other weights, stored as the compute dtype of bitsandbytes.
    """
    first = layers[targets[0].parameter.name]
    if not isinstance(first, Bnb4Linear):
        return _litgpt_tensors(name, targets, layers)
    if len(targets) == 1 and _is_block_aligned(targets[0]):
        return _bnb_tensors(name, targets[0], first, compute_dtype)
    # The rows are in another order, so that the blocks of bitsandbytes would span other rows. Stored in
    # float32, the weight is quantized to the same values when it is loaded.
    info = TensorInfo(targets[0].view.shape, "F32", 4 * prod(targets[0].view.shape))

    def read() -> Tensor:
        return to_hf_tensor(targets, lambda key: layers[key].dequantize().cpu()).contiguous()

    return {name: StoredTensor(info, read)}


def quantization_config(
    quantization: Quantization, modules_to_not_convert: Sequence[str]
) -> dict[str, object]:
    """Return the `quantization_config` of `config.json`."""
    if quantization in ("int8", "bnb.int8"):
        return {"quant_method": "litgpt-int8"}
    if quantization == "int4":
        return {"quant_method": "litgpt-int4", "group_size": GROUP_SIZE}
    return {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "load_in_8bit": False,
        "bnb_4bit_quant_type": quantization.removeprefix("bnb.").removesuffix("-dq"),
        "bnb_4bit_use_double_quant": False,  # the scales of `-dq` are stored dequantized
        "bnb_4bit_quant_storage": "uint8",
        # The output head is never quantized. A tied one has no tensor of its own, but transformers would
        # quantize it after loading.
        "llm_int8_skip_modules": sorted(
            {*HEAD_MODULES, *(name.removesuffix(".weight") for name in modules_to_not_convert)}
        ),
    }


def _litgpt_tensors(
    name: str, targets: Sequence[TensorTarget], layers: QuantizedLayers
) -> dict[str, StoredTensor]:
    spec = layers[targets[0].parameter.name].storage_spec
    return {
        f"{name}.{role}": _with_hf_layout(role, targets, layers, packed=role == "codes" and "zeros" in spec)
        for role in spec
    }


def _with_hf_layout(
    role: str, targets: Sequence[TensorTarget], layers: QuantizedLayers, *, packed: bool
) -> StoredTensor:
    """Return the codes, scales or zeros in the layout of the Hugging Face weight."""
    columns, dtype = layers[targets[0].parameter.name].storage_spec[role]
    resized = [attrs.evolve(target, view=_with_num_columns(target.view, columns)) for target in targets]
    shape = resized[0].view.shape

    def read() -> Tensor:
        tensor = to_hf_tensor(resized, lambda key: layers[key].stored_tensor(role).cpu())
        return _pack_pairs(tensor) if packed else tensor.contiguous()

    if packed:
        shape = (*shape[:-1], (shape[-1] + 1) // 2)
    return StoredTensor(TensorInfo(shape, _STORAGE_FORMATS[dtype], prod(shape) * dtype.itemsize), read)


def _with_num_columns(view: TensorView, columns: int) -> TensorView:
    """Return a view of a tensor with another number of columns, in the model's orientation."""
    shape = list(view.shape)
    shape[(view.expert_index is not None) + (not view.transposed)] = columns
    return attrs.evolve(view, shape=tuple(shape))


def _pack_pairs(codes: Tensor) -> Tensor:
    even = torch.nn.functional.pad(codes, (0, codes.shape[-1] % 2))
    return even[..., ::2] | (even[..., 1::2] << 4)


def _is_block_aligned(target: TensorTarget) -> bool:
    """Return whether the rows are contiguous in both tensors and begin and end at block boundaries."""
    view, columns = target.view, target.parameter.shape[1]
    return (
        view.is_full
        and target.start * columns % BNB_BLOCK_SIZE == 0
        and (
            view.num_rows * columns % BNB_BLOCK_SIZE == 0
            or target.start + view.num_rows == target.parameter.shape[0]
        )
        and view.num_rows * columns % 2 == 0
    )


def _bnb_tensors(
    name: str, target: TensorTarget, layer: Bnb4Linear, compute_dtype: torch.dtype
) -> dict[str, StoredTensor]:
    columns = target.parameter.shape[1]
    first, count = target.start * columns, target.view.num_rows * columns
    blocks = -(-count // BNB_BLOCK_SIZE)
    kind, dtype = layer.quant_type, str(compute_dtype).removeprefix("torch.")
    shape = list(target.view.shape)
    fields = {"quant_type": kind, "blocksize": BNB_BLOCK_SIZE, "dtype": dtype, "shape": shape}
    state = torch.tensor(list(json.dumps(fields).encode()), dtype=torch.uint8)
    return {
        name: StoredTensor(
            TensorInfo((count // 2, 1), "U8", count // 2),
            layer.codes.view(-1, 1)[first // 2 :][: count // 2].cpu,
        ),
        f"{name}.absmax": StoredTensor(
            TensorInfo((blocks,), "F32", 4 * blocks),
            partial(_scales, layer, first // BNB_BLOCK_SIZE, blocks),
        ),
        f"{name}.quant_map": StoredTensor(TensorInfo((16,), "F32", 64), layer.quant_map.cpu),
        f"{name}.quant_state.bitsandbytes__{kind}": StoredTensor(
            TensorInfo((len(state),), "U8", len(state)), lambda: state
        ),
    }


def _scales(layer: Bnb4Linear, first: int, count: int) -> Tensor:
    return layer.scales()[first:][:count].cpu()
