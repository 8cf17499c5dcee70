"""GPTQ, as AutoGPTQ and GPTQModel pack it (Frantar et al. 2022, arXiv:2210.17323).

`qweight` (in x bits / 32, out) has the codes of one output end to end down a column, the first in the lowest
bits; `qzeros` (groups, out x bits / 32) has zeros along a row; `scales` is (groups, out), and `g_idx` (in)
says to which group an input belongs. A weight is (code - zero) x scale. The format "gptq" stores each zero
less one, "gptq_v2" as it is.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized.bit_packing import WORD_BITS, row_chunks, unpack_words
from litgpt.adapters.checkpoints.quantized.quant_format import FLOATS, PackedWeight, StoredTensors
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig
from litgpt.domain.errors import CorruptFile

if TYPE_CHECKING:
    import torch


@attrs.frozen
class Gptq:
    """GPTQ.

    Attributes:
        bits: Of each code.
        group_size: How many inputs share a scale; None is all.
        zeros_less_one: Whether zeros are stored less one.

    """

    bits: int
    group_size: int | None
    zeros_less_one: bool
    ignored: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """How it is told."""
        return f"quantized by GPTQ to {self.bits} bits"

    @classmethod
    def read(cls, settings: QuantizationConfig) -> "Gptq":
        """Return the packing that a config tells.

        Raises:
            UnsupportedModel: It is another one of GPTQ's.

        """
        kind = settings.layout(("checkpoint_format", "format"), "gptq", "gptq_v2")
        # Of three bits AutoGPTQ and GPTQModel take one from the zeros in ways that differ.
        bits = settings.require_one_of("bits", *((4, 2, 8) if kind == "gptq" else (4, 2, 3, 8)))
        settings.require_unset("is_marlin_format", "adapter", "rotation")
        settings.require_one_of("pack_dtype", "int32")
        dynamic = settings.values.get("dynamic")
        # "-:" before a pattern leaves layers as they are, others give them settings of their own
        if dynamic and not (
            isinstance(dynamic, Mapping) and all(str(one).startswith("-:") for one in dynamic)
        ):
            settings.raise_unsupported("dynamic", dynamic)
        assert isinstance(bits, int)  # noqa: S101 - one of those above
        return cls(bits, settings.group_size("group_size", default=128), kind == "gptq")

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        """Return the packed weights: (out, in) each."""
        layers = stored.prefixes_of(".qweight", ".qzeros")
        biases = [f"{layer}.bias" for layer in layers if f"{layer}.bias" in stored.tensors]
        # AutoGPTQ gave a bias of zeros to layers that had none; the weight takes it along, to look at it
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
                f"{parts['qweight']} has the shape {[words, outputs]}: no {self.bits}-bit words.",
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
        unpack = partial(_unpack, packing=self)
        return PackedWeight((outputs, inputs), f"GPTQ {self.bits}-bit", parts, unpack)


def _unpack(parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype", *, packing: Gptq) -> "torch.Tensor":
    import torch

    if "bias" in parts and parts["bias"].any():
        raise ValueError("its layer has a bias, which this model has no use for")
    qzeros = parts["qzeros"]
    if packing.zeros_less_one:
        # The one was taken from whole words: below a zero of 0 it was borrowed from the next.
        qzeros = qzeros + sum(1 << place for place in range(0, WORD_BITS, packing.bits))
    scales, zeros = parts["scales"].float().t(), unpack_words(qzeros, packing.bits).t()
    outputs, inputs = len(scales), len(parts["qweight"]) * WORD_BITS // packing.bits
    group = _groups(parts, inputs, packing)
    weight = torch.empty((outputs, inputs), dtype=dtype)
    for some in row_chunks(outputs, inputs):
        codes = unpack_words(parts["qweight"][:, some].t(), packing.bits)
        weight[some] = codes.sub_(zeros[some, group]).float().mul_(scales[some, group])
    return weight


def _groups(parts: "Mapping[str, torch.Tensor]", inputs: int, packing: Gptq) -> "torch.Tensor":
    """Return to which group each input belongs."""
    import torch

    if "g_idx" not in parts:
        return torch.arange(inputs) // (packing.group_size or inputs)
    group, groups = parts["g_idx"].long(), len(parts["scales"])
    if group.min() < 0 or group.max() >= groups:
        raise ValueError(f"its g_idx has numbers that are none of its {groups} groups")
    return group
