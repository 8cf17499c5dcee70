"""GPTQ, as packed by AutoGPTQ and GPTQModel (Frantar et al. 2022, arXiv:2210.17323).

`qweight` (in x bits / 32, out) packs the codes of an output along a column, starting at the lowest bits;
`qzeros` (groups, out x bits / 32) packs zero points along a row; `scales` has shape (groups, out), and
`g_idx` (in) is the group of each input. A weight is (code - zero) x scale. The format "gptq" stores zero
points minus 1, "gptq_v2" stores them unchanged.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized import affine
from litgpt.adapters.checkpoints.quantized.affine import CENTER, CENTERED_BITS
from litgpt.adapters.checkpoints.quantized.bit_packing import WORD_BITS, row_chunks, unpack_words
from litgpt.adapters.checkpoints.quantized.quant_format import FLOATS, PackedWeight, StoredTensors
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig
from litgpt.domain.errors import CorruptFile
from litgpt.domain.weights.raw_tensor import RawTensor

if TYPE_CHECKING:
    import torch


@attrs.frozen
class Gptq:
    """The GPTQ format: `bits` per code, and `group_size` inputs that share a scale (None: all).

    Zero points may be stored minus 1 (`zeros_less_one`).
    """

    bits: int
    group_size: int | None
    zeros_less_one: bool
    ignored: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        return f"quantized by GPTQ to {self.bits} bits"

    @classmethod
    def read(cls, settings: QuantizationConfig) -> "Gptq":
        kind = settings.layout(("checkpoint_format", "format"), "gptq", "gptq_v2")
        # For 3 bits, AutoGPTQ and GPTQModel subtract 1 from the zero points in different ways.
        bits = settings.require_one_of("bits", *((4, 2, 8) if kind == "gptq" else (4, 2, 3, 8)))
        settings.require_unset("is_marlin_format", "adapter", "rotation")
        settings.require_one_of("pack_dtype", "int32")
        dynamic = settings.values.get("dynamic")
        # Patterns that start with "-:" exclude layers; others override their settings.
        if dynamic and not (
            isinstance(dynamic, Mapping) and all(str(pattern).startswith("-:") for pattern in dynamic)
        ):
            settings.raise_unsupported("dynamic", dynamic)
        assert isinstance(bits, int)  # noqa: S101 - guaranteed by require_one_of
        return cls(bits, settings.group_size("group_size", default=128), kind == "gptq")

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        layers = stored.prefixes_of(".qweight", ".qzeros")
        biases = [f"{layer}.bias" for layer in layers if f"{layer}.bias" in stored.tensors]
        # AutoGPTQ adds zero biases to layers without a bias; `_unpack` checks that they are zero.
        needless = {*biases} - {*stored.expected(biases)} if biases else set()
        return {f"{layer}.weight": self._weight(stored, layer, needless) for layer in layers}

    def _weight(self, stored: StoredTensors, layer: str, needless: set[str]) -> PackedWeight:
        parts = {role: f"{layer}.{role}" for role in ("qweight", "qzeros", "scales")}
        for role, name in parts.items():
            stored.require(name, *(FLOATS if role == "scales" else ("I32",)), purpose=f"{layer}.weight")
        words, outputs = stored.matrix(parts["qweight"])
        inputs = words * WORD_BITS // self.bits
        if words * WORD_BITS % self.bits or outputs * self.bits % WORD_BITS:
            raise CorruptFile(
                stored.where,
                f"{parts['qweight']} has shape {[words, outputs]}, which does not fit {self.bits}-bit codes.",
            )
        groups = -(-inputs // (self.group_size or inputs))
        stored.check_shape(parts["qzeros"], (groups, outputs * self.bits // WORD_BITS))
        stored.check_shape(parts["scales"], (groups, outputs))
        if f"{layer}.g_idx" in stored.tensors:
            parts["g_idx"] = f"{layer}.g_idx"
            stored.require(parts["g_idx"], "I32", "I64", purpose=f"{layer}.weight")
            stored.check_shape(parts["g_idx"], (inputs,))
        if f"{layer}.bias" in needless:
            parts["bias"] = f"{layer}.bias"
        unpack, blocks = partial(_unpack, packing=self), partial(_blocks, packing=self)
        return PackedWeight((outputs, inputs), f"GPTQ {self.bits}-bit", parts, unpack, blocks)


def _unpack(parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype", *, packing: Gptq) -> "torch.Tensor":
    if "bias" in parts and parts["bias"].any():
        raise ValueError("its layer has a bias, which this model does not use")
    shape = _shape(parts, packing)
    return affine.dequantize(shape, _coded_rows(parts, packing), dtype, _groups(parts, shape[1], packing))


def _blocks(parts: "Mapping[str, torch.Tensor]", *, packing: Gptq) -> RawTensor | None:
    shape, scales = _shape(parts, packing), parts["scales"]
    group = _groups(parts, shape[1], packing)
    is_shuffled = bool((group != affine.consecutive_groups(shape[1], len(scales))).any())
    is_centered = packing.bits < CENTERED_BITS or bool((_zeros(parts, packing) == CENTER).all())
    if is_shuffled or not is_centered or ("bias" in parts and parts["bias"].any()):
        return None
    return affine.as_blocks(shape, scales, partial(_coded_rows, parts, packing), bits=packing.bits)


def _shape(parts: "Mapping[str, torch.Tensor]", packing: Gptq) -> tuple[int, int]:
    words, outputs = parts["qweight"].shape
    return outputs, words * WORD_BITS // packing.bits


def _zeros(parts: "Mapping[str, torch.Tensor]", packing: Gptq) -> "torch.Tensor":
    """Return the zero points (out, groups)."""
    qzeros = parts["qzeros"]
    if packing.zeros_less_one:
        # 1 was subtracted from whole words, with a borrow from the next code at a zero point of 0.
        qzeros = qzeros + sum(1 << place for place in range(0, WORD_BITS, packing.bits))
    return unpack_words(qzeros, packing.bits).t()


def _coded_rows(parts: "Mapping[str, torch.Tensor]", packing: Gptq) -> Iterator[affine.CodedRows]:
    scales, zeros = parts["scales"].t(), _zeros(parts, packing)
    for rows in row_chunks(*_shape(parts, packing)):
        codes = unpack_words(parts["qweight"][:, rows].t(), packing.bits)
        yield affine.CodedRows(rows, codes, zeros[rows], scales[rows])


def _groups(parts: "Mapping[str, torch.Tensor]", inputs: int, packing: Gptq) -> "torch.Tensor":
    import torch

    if "g_idx" not in parts:
        return torch.arange(inputs) // (packing.group_size or inputs)
    group, groups = parts["g_idx"].long(), len(parts["scales"])
    if group.min() < 0 or group.max() >= groups:
        raise ValueError(f"its g_idx has values outside its {groups} groups")
    return group
