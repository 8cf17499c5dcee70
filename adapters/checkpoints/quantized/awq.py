"""AWQ, as AutoAWQ's version "gemm" packs it (Lin et al. 2023, arXiv:2306.00978).

`qweight` (in, out / 8) has eight outputs in a word: from the lowest four bits up the first, the third, the
fifth, the seventh, the second, the fourth, the sixth and the eighth. `qzeros` (groups, out / 8) is like it,
and `scales` is (groups, out). A weight is (code - zero) x scale.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized.bit_packing import row_chunks, unpack_words
from litgpt.adapters.checkpoints.quantized.quant_format import FLOATS, PackedWeight, StoredTensors
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig
from litgpt.domain.errors import CorruptFile

if TYPE_CHECKING:
    import torch

BITS = 4
PER_WORD = 8
# Where in a word, counted from the lowest bits, the first output's code is, the second's, …
NIBBLE_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)


@attrs.frozen
class Awq:
    """AWQ to four bits.

    Attributes:
        group_size: How many inputs share a scale; None is all.

    """

    group_size: int | None
    description: str = "quantized by AWQ to 4 bits"
    ignored: tuple[str, ...] = ()

    @classmethod
    def read(cls, settings: QuantizationConfig) -> "Awq":
        """Return the packing that a config tells.

        Raises:
            UnsupportedModel: It is another one of AWQ's.

        """
        settings.require_one_of("bits", BITS)
        settings.layout(("version", "format"), "gemm")
        if settings.values.get("backend") == "llm-awq":  # which packs in a way of its own
            settings.raise_unsupported("backend", "llm-awq")
        settings.require_one_of("zero_point", True)
        return cls(settings.group_size("group_size", default=128))

    def packed_weights(self, stored: StoredTensors) -> dict[str, PackedWeight]:
        """Return the packed weights: (out, in) each."""
        layers = stored.prefixes_of(".qweight", ".qzeros")
        return {f"{layer}.weight": self._weight(stored, layer) for layer in layers}

    def _weight(self, stored: StoredTensors, layer: str) -> PackedWeight:
        parts = {role: f"{layer}.{role}" for role in ("qweight", "qzeros", "scales")}
        for role, name in parts.items():
            stored.require(name, *(FLOATS if role == "scales" else ("I32",)), purpose=f"{layer}.weight")
        inputs, words = stored.matrix(parts["qweight"])
        size = self.group_size or inputs
        if inputs % size:
            raise CorruptFile(
                stored.where, f"{parts['qweight']} has {inputs} rows, which are no groups of {size}."
            )
        stored.check_shape(parts["qzeros"], (inputs // size, words))
        stored.check_shape(parts["scales"], (inputs // size, words * PER_WORD))
        return PackedWeight((words * PER_WORD, inputs), "AWQ 4-bit", parts, _unpack)


def _unpack(parts: "Mapping[str, torch.Tensor]", dtype: "torch.dtype") -> "torch.Tensor":
    import torch

    inputs, words = parts["qweight"].shape
    groups = len(parts["scales"])
    weight = torch.empty((words * PER_WORD, inputs), dtype=dtype)
    for some in row_chunks(words, inputs * PER_WORD):
        outputs = slice(some.start * PER_WORD, some.stop * PER_WORD)
        zeros, scales = _codes(parts["qzeros"][:, some]), parts["scales"][:, outputs].float()
        codes = _codes(parts["qweight"][:, some]).view(groups, inputs // groups, -1)
        numbers = codes.sub_(zeros.unsqueeze(1)).float().mul_(scales.unsqueeze(1))
        weight[outputs] = numbers.flatten(0, 1).t()
    return weight


def _codes(words: "torch.Tensor") -> "torch.Tensor":
    """Return codes in the order of the outputs."""
    codes: torch.Tensor = (
        unpack_words(words, BITS).unflatten(-1, (-1, PER_WORD))[..., NIBBLE_ORDER].flatten(-2)
    )
    return codes
