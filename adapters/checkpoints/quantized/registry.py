"""The registry of quantization formats, by `quant_method`."""

from collections.abc import Callable, Mapping

from litgpt.adapters.checkpoints.quantized.quant_format import QuantFormat
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig
from litgpt.domain.errors import UnsupportedModel
from litgpt.domain.lazy_values import LazyValues

QUANT_FORMATS: Mapping[str, Callable[[QuantizationConfig], QuantFormat]] = LazyValues(
    "litgpt.adapters.checkpoints.quantized",
    {
        "awq": "awq:Awq.read",
        "bitsandbytes": "bnb:BitsAndBytes.read",
        "compressed-tensors": "compressed_tensors:read_compressed_tensors",
        "fbgemm_fp8": "fp8:Fp8.read_fbgemm",
        "fp8": "fp8:Fp8.read",
        "gptq": "gptq:Gptq.read",
        "litgpt-int4": "litgpt_int:LitGptInt.read_int4",
        "litgpt-int8": "litgpt_int:LitGptInt.read_int8",
        "mxfp4": "mxfp4:Mxfp4.read",
    },
)
"""The reader of each `quant_method`."""

QUANTIZATION_CONFIG = "quantization_config"
TEXT_CONFIG = "text_config"
"""Some multimodal models have `quantization_config` in the config of their text model."""


def quant_format_of(model: str, config: Mapping[str, object]) -> QuantFormat | None:
    """Return the quantization format of a model; None if it is not quantized.

    Raises:
        UnsupportedModel: The format, or one of its settings, is not supported.
    """
    values = config.get(QUANTIZATION_CONFIG) or _text_config(config).get(QUANTIZATION_CONFIG)
    if not values:
        return None
    method = values.get("quant_method") if isinstance(values, Mapping) else None
    if not isinstance(values, Mapping) or not isinstance(method, str | None):
        raise UnsupportedModel(
            model, f"its {QUANTIZATION_CONFIG} is {values!r}, which has no valid quant_method."
        )
    if method is None and ("load_in_4bit" in values or "load_in_8bit" in values):
        method = "bitsandbytes"  # early versions did not write quant_method
    if method is None or method not in QUANT_FORMATS:
        known = ", ".join(QUANT_FORMATS)
        raise UnsupportedModel(
            model,
            f"its weights are quantized by {method!r} ({QUANTIZATION_CONFIG}), which is not one of: {known}.",
        )
    return QUANT_FORMATS[method](QuantizationConfig(model, method, values))


def without_quantization(config: Mapping[str, object]) -> dict[str, object]:
    """Return a config without `quantization_config`."""
    without = {name: value for name, value in config.items() if name != QUANTIZATION_CONFIG}
    if QUANTIZATION_CONFIG in (part := _text_config(config)):
        without[TEXT_CONFIG] = {name: value for name, value in part.items() if name != QUANTIZATION_CONFIG}
    return without


def _text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    part = config.get(TEXT_CONFIG)
    return part if isinstance(part, Mapping) else {}
