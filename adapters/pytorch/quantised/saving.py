"""Quantised layers as the tensors of a file: what is stored instead of each weight of theirs.

`litgpt-int8` and `litgpt-int4` store a weight `x` as `x.codes` and `x.scales`, which lie as the weight does;
`scales` has one number where the weight has a row's, or a group's, inputs. In four bits there are two codes
in a byte along the last dimension, the first in the low bits, and `x.zeros` like `x.scales`; a weight is
(code - 8) x scale + zero. Four bits of bitsandbytes are stored as bitsandbytes does.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.pieces import theirs
from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear
from litgpt.adapters.pytorch.quantised.of_bitsandbytes import Bnb4Linear
from litgpt.domain.pieces import Piece
from litgpt.domain.quantization import BLOCK, GROUP, Quantization
from litgpt.domain.tensors import TensorInfo
from litgpt.domain.weights import Use

_STORED_AS = {torch.int8: "I8", torch.uint8: "U8", torch.float32: "F32", torch.bfloat16: "BF16"}


@attrs.frozen
class Part:
    """A tensor of a file.

    Attributes:
        info: What its header says.
        read: Makes it.

    """

    info: TensorInfo
    read: Callable[[], Tensor]


Layers = Mapping[str, QuantisedLinear]


def parts_of(name: str, those: Sequence[Use], layers: Layers, computing: torch.dtype) -> dict[str, Part]:
    """Return what is stored of a weight.

    Args:
        name: Theirs.
        those: What of ours is written into it.
        layers: The quantised layers, by our names of their weights.
        computing: The dtype of the model's other weights, in which bitsandbytes is to multiply.

    """
    first = layers[those[0].parameter.name]
    if not isinstance(first, Bnb4Linear):
        return _of_ours(name, those, layers)
    if len(those) == 1 and _is_whole_blocks(those[0]):
        return _of_bitsandbytes(name, those[0], first, computing)
    # Its blocks go over rows, and this weight's rows lie in another way. In float32, it is quantised to the
    # same numbers when it is loaded.
    info = TensorInfo(those[0].piece.shape, "F32", 4 * prod(those[0].piece.shape))
    return {
        name: Part(info, lambda: theirs(those, lambda ours: layers[ours].dequantised().cpu()).contiguous())
    }


def quantization_config(how: Quantization, unquantised: Sequence[str]) -> dict[str, object]:
    """Return what `config.json` says of it.

    Args:
        how: How the layers are quantised.
        unquantised: The names of their matrices that are stored as they are.

    """
    if how in ("int8", "bnb.int8"):
        return {"quant_method": "litgpt-int8"}
    if how == "int4":
        return {"quant_method": "litgpt-int4", "group_size": GROUP}
    return {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "load_in_8bit": False,
        "bnb_4bit_quant_type": how.removeprefix("bnb.").removesuffix("-dq"),
        "bnb_4bit_use_double_quant": False,  # the scales of `-dq` are stored unpacked
        "bnb_4bit_quant_storage": "uint8",
        "llm_int8_skip_modules": [name.removesuffix(".weight") for name in unquantised],
    }


def _of_ours(name: str, those: Sequence[Use], layers: Layers) -> dict[str, Part]:
    kept = layers[those[0].parameter.name].kept
    return {
        f"{name}.{role}": _laid_out(role, those, layers, packed=role == "codes" and "zeros" in kept)
        for role in kept
    }


def _laid_out(role: str, those: Sequence[Use], layers: Layers, *, packed: bool) -> Part:
    """Return a part of ours, laid as the weight of theirs."""
    columns, dtype = layers[those[0].parameter.name].kept[role]
    uses = [attrs.evolve(one, piece=_with_columns(one.piece, columns)) for one in those]
    shape = uses[0].piece.shape

    def read() -> Tensor:
        found = theirs(uses, lambda ours: layers[ours].part(role).cpu())
        return _in_pairs(found) if packed else found.contiguous()

    if packed:
        shape = (*shape[:-1], (shape[-1] + 1) // 2)
    return Part(TensorInfo(shape, _STORED_AS[dtype], prod(shape) * dtype.itemsize), read)


def _with_columns(piece: Piece, columns: int) -> Piece:
    """Return a piece of a tensor that has other columns, as ours are counted, and else the same shape."""
    shape = list(piece.shape)
    shape[(piece.expert is not None) + (not piece.transposed)] = columns
    return attrs.evolve(piece, shape=tuple(shape))


def _in_pairs(codes: Tensor) -> Tensor:
    even = torch.nn.functional.pad(codes, (0, codes.shape[-1] % 2))
    return even[..., ::2] | (even[..., 1::2] << 4)


def _is_whole_blocks(use: Use) -> bool:
    """Return whether rows of ours are theirs, one after another, and begin and end with a block."""
    piece, columns = use.piece, use.parameter.shape[1]
    return (
        piece.whole
        and use.start * columns % BLOCK == 0
        and (piece.rows * columns % BLOCK == 0 or use.start + piece.rows == use.parameter.shape[0])
        and piece.rows * columns % 2 == 0
    )


def _of_bitsandbytes(name: str, use: Use, layer: Bnb4Linear, computing: torch.dtype) -> dict[str, Part]:
    columns = use.parameter.shape[1]
    first, count = use.start * columns, use.piece.rows * columns
    blocks = -(-count // BLOCK)
    kind, dtype = layer.kind, str(computing).removeprefix("torch.")
    said = {"quant_type": kind, "blocksize": BLOCK, "dtype": dtype, "shape": list(use.piece.shape)}
    state = torch.tensor(list(json.dumps(said).encode()), dtype=torch.uint8)
    return {
        name: Part(
            TensorInfo((count // 2, 1), "U8", count // 2),
            layer.codes.view(-1, 1)[first // 2 :][: count // 2].cpu,
        ),
        f"{name}.absmax": Part(
            TensorInfo((blocks,), "F32", 4 * blocks),
            partial(_scales, layer, first // BLOCK, blocks),
        ),
        f"{name}.quant_map": Part(TensorInfo((16,), "F32", 64), layer.quant_map.cpu),
        f"{name}.quant_state.bitsandbytes__{kind}": Part(
            TensorInfo((len(state),), "U8", len(state)), lambda: state
        ),
    }


def _scales(layer: Bnb4Linear, first: int, count: int) -> Tensor:
    return layer.scales()[first:][:count].cpu()
