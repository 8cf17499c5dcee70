"""bitsandbytes 4-bit formats: NF4 and FP4 (Dettmers et al. 2023, arXiv:2305.14314).

`weight` has two codes per byte, the first in the high bits, in row-major order. A code is an index into the
16 values of `weight.quant_map`, which are multiplied by the block's `weight.absmax`. With double quantization
`absmax` consists of codes into `weight.nested_quant_map`, with scales `weight.nested_absmax` and an offset.
The block sizes, the offset and the shape are JSON in the bytes of `weight.quant_state…`.

Headers do not contain the shape. It is taken from the model's config, and compared with the JSON on reading.
"""

import json
from collections.abc import Mapping
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized.bit_packing import row_chunks
from litgpt.adapters.checkpoints.quantized.quant_format import PackedWeight, Shape, StoredTensors
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig
from litgpt.domain.errors import CorruptFile

if TYPE_CHECKING:
    import torch

QUANT_TYPES = {"nf4": "NF4", "fp4": "FP4"}
STATE_SUFFIX = ".quant_state.bitsandbytes__"


@attrs.frozen
class BitsAndBytes:
    """The NF4 or FP4 format."""

    description: str = "quantized by bitsandbytes to 4 bits"
    ignored: tuple[str, ...] = ()

    @classmethod
    def read(cls, settings: QuantizationConfig) -> "BitsAndBytes":
        for name in ("load_in_8bit", "_load_in_8bit"):
            settings.require_one_of(name, False)
        if not (settings.values.get("load_in_4bit") or settings.values.get("_load_in_4bit")):
            settings.raise_unsupported("load_in_4bit", settings.values.get("load_in_4bit"))
        kind = settings.require_one_of("bnb_4bit_quant_type", "fp4", "nf4")
        return cls(f"quantized by bitsandbytes to {QUANT_TYPES[str(kind)]}, 4 bits")

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        names = stored.prefixes_of(".absmax", *(f"{STATE_SUFFIX}{kind}" for kind in QUANT_TYPES))
        expected = stored.expected(names)
        return {name: _weight(stored, name, expected.get(name)) for name in names}


def _weight(stored: StoredTensors, name: str, shape: Shape | None) -> PackedWeight:
    codes = stored.require(name, purpose=name)
    kind = next((kind for kind in QUANT_TYPES if f"{name}{STATE_SUFFIX}{kind}" in stored.tensors), "nf4")
    parts = {"codes": name, "state": f"{name}{STATE_SUFFIX}{kind}"}
    parts |= {role: f"{name}.{role}" for role in ("absmax", "quant_map")}
    stored.require(parts["state"], "U8", purpose=name)
    stored.require(parts["quant_map"], "F32", purpose=name)
    if stored.require(parts["absmax"], "F32", "U8", purpose=name).storage_format == "U8":
        parts |= {role: f"{name}.{role}" for role in ("nested_absmax", "nested_quant_map")}
        stored.require(parts["nested_absmax"], "F32", purpose=name)
        stored.require(parts["nested_quant_map"], "F32", purpose=name)
        stored.check_shape(parts["nested_quant_map"], (256,))
    stored.check_shape(parts["quant_map"], (16,))
    shape = shape or (2 * codes.nbytes,)  # a weight that the model does not use
    if (prod(shape) + 1) // 2 != codes.nbytes:
        raise CorruptFile(
            stored.where,
            f"{name} has {codes.nbytes} bytes, which does not fit 4-bit codes of shape {[*shape]}.",
        )
    return PackedWeight(shape, QUANT_TYPES[kind], parts, partial(_unpack, shape=shape))


def _unpack(parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype", *, shape: Shape) -> "torch.Tensor":
    import torch

    state = _parse_quant_state(bytes(parts["state"].tolist()))
    if tuple(state.shape) != shape:
        raise ValueError(f"its quant_state has shape {[*state.shape]}, expected {[*shape]}")
    absmax = parts["absmax"]
    if "nested_absmax" in parts:
        if state.nested_block is None or state.nested_offset is None:
            raise ValueError("its quant_state does not describe the nested quantization of its scales")
        _check_scales(parts["nested_absmax"], absmax.numel(), state.nested_block)
        unscaled = parts["nested_quant_map"][absmax.flatten().int()]
        absmax = _scaled(unscaled, parts["nested_absmax"], state.nested_block).add_(state.nested_offset)
    _check_scales(absmax, prod(shape), state.block)
    packed, values = parts["codes"].reshape(-1).view(torch.uint8), parts["quant_map"]
    weight = torch.empty(prod(shape), dtype=dtype)
    for chunk in row_chunks(len(weight), 1, of=state.block):
        pairs = packed[chunk.start // 2 : (chunk.stop + 1) // 2]
        codes = torch.stack((pairs >> 4, pairs & 15), dim=1).flatten()[: chunk.stop - chunk.start]
        scales = absmax.flatten()[chunk.start // state.block :]
        weight[chunk] = _scaled(values[codes.int()], scales, state.block)
    return weight.view(shape)


def _check_scales(scales: "torch.Tensor", total: int, block: int) -> None:
    if scales.numel() != -(-total // block):
        raise ValueError(f"it has {scales.numel()} scales for {total} values in blocks of {block}")


def _scaled(values: "torch.Tensor", scales: "torch.Tensor", block: int) -> "torch.Tensor":
    """Multiply blocks of values, the last of which may be shorter, by their scales in place."""
    full_blocks = values.numel() // block
    values[: full_blocks * block].view(-1, block).mul_(scales[:full_blocks, None])
    values[full_blocks * block :].mul_(scales[full_blocks : full_blocks + 1])
    return values


@attrs.frozen
class _QuantState:
    shape: tuple[int, ...]
    block: int
    nested_block: int | None
    nested_offset: float | None


def _parse_quant_state(raw: bytes) -> _QuantState:
    try:
        state = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its quant_state is not JSON ({error})") from error
    if not isinstance(state, dict):
        raise ValueError("its quant_state is not a JSON object")  # noqa: TRY004 - it becomes a CorruptFile
    shape, offset = state.get("shape"), state.get("nested_offset")
    block, nested = state.get("blocksize"), state.get("nested_blocksize")
    if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
        raise ValueError("its quant_state has no valid shape")
    if not isinstance(block, int) or block < 1 or block % 2:
        raise ValueError("its quant_state has no valid block size")
    return _QuantState(
        shape=tuple(shape),
        block=block,
        nested_block=nested if isinstance(nested, int) and nested > 0 else None,
        nested_offset=float(offset) if isinstance(offset, int | float) else None,
    )
