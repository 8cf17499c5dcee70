"""bitsandbytes to four bits (Dettmers et al. 2023, arXiv:2305.14314): NF4 and FP4.

`weight` has two codes in a byte, the first in the high bits, row after row of the weight. A code picks one of
the sixteen numbers of `weight.quant_map`, which is multiplied by its block's `weight.absmax`. With double
quantization `absmax` is codes itself, of `weight.nested_quant_map`, with scales `weight.nested_absmax`, about
a mean. The sizes of blocks, that mean and the shape are JSON in the bytes of `weight.quant_state…`.

Headers do not tell the shape. It is what the model's config asks for, and held to the JSON when it is read.
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
    """NF4 or FP4."""

    description: str = "quantized by bitsandbytes to 4 bits"
    ignored: tuple[str, ...] = ()

    @classmethod
    def read(cls, settings: QuantizationConfig) -> "BitsAndBytes":
        """Return the packing that a config tells.

        Raises:
            UnsupportedModel: It is another one of bitsandbytes's.

        """
        for name in ("load_in_8bit", "_load_in_8bit"):
            settings.require_one_of(name, False)
        if not (settings.values.get("load_in_4bit") or settings.values.get("_load_in_4bit")):
            settings.raise_unsupported("load_in_4bit", settings.values.get("load_in_4bit"))
        kind = settings.require_one_of("bnb_4bit_quant_type", "fp4", "nf4")
        return cls(f"quantized by bitsandbytes to {QUANT_TYPES[str(kind)]}, 4 bits")

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        """Return the packed weights: (out, in) each."""
        found = stored.prefixes_of(".absmax", *(f"{STATE_SUFFIX}{kind}" for kind in QUANT_TYPES))
        expected = stored.expected(found)
        return {name: _weight(stored, name, expected.get(name)) for name in found}


def _weight(stored: StoredTensors, name: str, shape: Shape | None) -> PackedWeight:
    codes = stored.require(name, purpose=name)
    kind = next((one for one in QUANT_TYPES if f"{name}{STATE_SUFFIX}{one}" in stored.tensors), "nf4")
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
    shape = shape or (2 * codes.nbytes,)  # of a part that is not loaded, or that the plan will find left over
    if (prod(shape) + 1) // 2 != codes.nbytes:
        raise CorruptFile(
            stored.where, f"{name} has {codes.nbytes} bytes, too few or many for 4 bits of {[*shape]}."
        )
    return PackedWeight(shape, QUANT_TYPES[kind], parts, partial(_unpack, shape=shape))


def _unpack(parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype", *, shape: Shape) -> "torch.Tensor":
    import torch

    state = _parse_quant_state(bytes(parts["state"].tolist()))
    if tuple(state.shape) != shape:
        raise ValueError(f"its quant_state gives it the shape {[*state.shape]} and not {[*shape]}")
    absmax = parts["absmax"]
    if "nested_absmax" in parts:
        if state.nested_block is None or state.nested_offset is None:
            raise ValueError("its quant_state says nothing of the scales' scales")
        _check_scales(parts["nested_absmax"], absmax.numel(), state.nested_block)
        fine = parts["nested_quant_map"][absmax.flatten().int()]
        absmax = _scaled(fine, parts["nested_absmax"], state.nested_block).add_(state.nested_offset)
    _check_scales(absmax, prod(shape), state.block)
    packed, numbers = parts["codes"].reshape(-1).view(torch.uint8), parts["quant_map"]
    weight = torch.empty(prod(shape), dtype=dtype)
    for some in row_chunks(len(weight), 1, of=state.block):
        pairs = packed[some.start // 2 : (some.stop + 1) // 2]
        codes = torch.stack((pairs >> 4, pairs & 15), dim=1).flatten()[: some.stop - some.start]
        scales = absmax.flatten()[some.start // state.block :]
        weight[some] = _scaled(numbers[codes.int()], scales, state.block)
    return weight.view(shape)


def _check_scales(scales: "torch.Tensor", total: int, block: int) -> None:
    if scales.numel() != -(-total // block):
        raise ValueError(f"it has {scales.numel()} scales for {total} numbers in blocks of {block}")


def _scaled(numbers: "torch.Tensor", scales: "torch.Tensor", block: int) -> "torch.Tensor":
    """Multiply blocks of numbers, the last of which may be shorter, by the first of scales."""
    whole = numbers.numel() // block
    numbers[: whole * block].view(-1, block).mul_(scales[:whole, None])
    numbers[whole * block :].mul_(scales[whole : whole + 1])
    return numbers


@attrs.frozen
class _QuantState:
    """What the JSON in a file tells of one weight."""

    shape: tuple[int, ...]
    block: int
    nested_block: int | None
    nested_offset: float | None


def _parse_quant_state(raw: bytes) -> _QuantState:
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its quant_state is no JSON ({error})") from error
    if not isinstance(said, dict):
        raise ValueError("its quant_state is no JSON object")  # noqa: TRY004 - it becomes a CorruptFile
    shape, offset = said.get("shape"), said.get("nested_offset")
    block, nested = said.get("blocksize"), said.get("nested_blocksize")
    if not isinstance(shape, list) or not all(isinstance(one, int) for one in shape):
        raise ValueError("its quant_state tells no shape")
    if not isinstance(block, int) or block < 1 or block % 2:
        raise ValueError("its quant_state tells no size of blocks")
    return _QuantState(
        shape=tuple(shape),
        block=block,
        nested_block=nested if isinstance(nested, int) and nested > 0 else None,
        nested_offset=float(offset) if isinstance(offset, int | float) else None,
    )
