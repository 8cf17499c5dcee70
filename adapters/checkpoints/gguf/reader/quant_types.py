"""The quantization types of GGUF by number: names and block sizes.

Source: `ggml_type` and the block structs in ggml's `ggml.h` and `ggml-common.h`.
"""

import attrs

from litgpt.domain.weights.tensor_info import DType


@attrs.frozen
class QuantType:
    """A storage type: blocks of `block_size` weights along each row; `dtype` is torch's, if unquantized."""

    name: str
    block_size: int
    block_bytes: int
    dtype: DType | None = None


QUANT_TYPES: dict[int, QuantType] = {
    0: QuantType("F32", 1, 4, "float32"),
    1: QuantType("F16", 1, 2, "float16"),
    2: QuantType("Q4_0", 32, 18),
    3: QuantType("Q4_1", 32, 20),
    6: QuantType("Q5_0", 32, 22),
    7: QuantType("Q5_1", 32, 24),
    8: QuantType("Q8_0", 32, 34),
    10: QuantType("Q2_K", 256, 84),
    11: QuantType("Q3_K", 256, 110),
    12: QuantType("Q4_K", 256, 144),
    13: QuantType("Q5_K", 256, 176),
    14: QuantType("Q6_K", 256, 210),
    30: QuantType("BF16", 1, 2, "bfloat16"),
    39: QuantType("MXFP4", 32, 17),
}
"""The supported types."""

UNSUPPORTED_QUANT_TYPES: dict[int, str] = {
    9: "Q8_1",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    40: "NVFP4",
    41: "Q1_0",
}
"""Other types, which are rejected by name."""
