"""Which format a config names: the one place that knows them all."""

from collections.abc import Callable, Mapping

from litgpt.adapters.checkpoints.quantized.awq import Awq
from litgpt.adapters.checkpoints.quantized.bnb import BitsAndBytes
from litgpt.adapters.checkpoints.quantized.compressed_tensors import read_compressed_tensors
from litgpt.adapters.checkpoints.quantized.fp8 import Fp8
from litgpt.adapters.checkpoints.quantized.gptq import Gptq
from litgpt.adapters.checkpoints.quantized.litgpt_int import LitGptInt
from litgpt.adapters.checkpoints.quantized.mxfp4 import Mxfp4
from litgpt.adapters.checkpoints.quantized.quant_format import QuantFormat
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig
from litgpt.domain.errors import UnsupportedModel

QUANT_FORMATS: dict[str, Callable[[QuantizationConfig], QuantFormat]] = {
    "awq": Awq.read,
    "bitsandbytes": BitsAndBytes.read,
    "compressed-tensors": read_compressed_tensors,
    "fbgemm_fp8": Fp8.read_fbgemm,
    "fp8": Fp8.read,
    "gptq": Gptq.read,
    "litgpt-int4": LitGptInt.read_int4,
    "litgpt-int8": LitGptInt.read_int8,
    "mxfp4": Mxfp4.read,
}
"""How each `quant_method` is read."""

QUANTIZATION_CONFIG = "quantization_config"
TEXT_CONFIG = "text_config"
"""Some models of text and more say it within the config of their text part."""


def quant_format_of(model: str, config: Mapping[str, object]) -> QuantFormat | None:
    """Return the format in which a model's weights are packed; None if they are plain.

    Raises:
        UnsupportedModel: The format, or a setting of it, is not implemented.

    """
    said = config.get(QUANTIZATION_CONFIG) or _text_config(config).get(QUANTIZATION_CONFIG)
    if not said:
        return None
    method = said.get("quant_method") if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(method, str | None):
        raise UnsupportedModel(
            model, f"its {QUANTIZATION_CONFIG} is {said!r}, which names no way to quantize."
        )
    if method is None and ("load_in_4bit" in said or "load_in_8bit" in said):
        method = "bitsandbytes"  # which wrote no name at first
    if method not in QUANT_FORMATS:
        known = ", ".join(QUANT_FORMATS)
        raise UnsupportedModel(
            model,
            f"its weights are quantized by {method!r} ({QUANTIZATION_CONFIG}), which is not one of: {known}.",
        )
    return QUANT_FORMATS[method](QuantizationConfig(model, method, said))


def without_quantization(config: Mapping[str, object]) -> dict[str, object]:
    """Return a config that says nothing of how weights are packed."""
    without = {name: value for name, value in config.items() if name != QUANTIZATION_CONFIG}
    if QUANTIZATION_CONFIG in (part := _text_config(config)):
        without[TEXT_CONFIG] = {name: value for name, value in part.items() if name != QUANTIZATION_CONFIG}
    return without


def _text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    part = config.get(TEXT_CONFIG)
    return part if isinstance(part, Mapping) else {}
