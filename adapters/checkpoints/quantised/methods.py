"""Which format a config names: the one place that knows them all."""

from collections.abc import Callable, Mapping

from litgpt.adapters.checkpoints.quantised.awq import Awq
from litgpt.adapters.checkpoints.quantised.bitsandbytes import BitsAndBytes
from litgpt.adapters.checkpoints.quantised.compressed_tensors import read_compressed_tensors
from litgpt.adapters.checkpoints.quantised.fp8 import Fp8
from litgpt.adapters.checkpoints.quantised.gptq import Gptq
from litgpt.adapters.checkpoints.quantised.mxfp4 import Mxfp4
from litgpt.adapters.checkpoints.quantised.of_litgpt import OfLitgpt
from litgpt.adapters.checkpoints.quantised.packing import Packing
from litgpt.adapters.checkpoints.quantised.settings import QuantisationSettings
from litgpt.domain.errors import UnsupportedModel

METHODS: dict[str, Callable[[QuantisationSettings], Packing]] = {
    "awq": Awq.read,
    "bitsandbytes": BitsAndBytes.read,
    "compressed-tensors": read_compressed_tensors,
    "fbgemm_fp8": Fp8.read_fbgemm,
    "fp8": Fp8.read,
    "gptq": Gptq.read,
    "litgpt-int4": OfLitgpt.read_four,
    "litgpt-int8": OfLitgpt.read_eight,
    "mxfp4": Mxfp4.read,
}
"""How each `quant_method` is read."""

KEY = "quantization_config"
PART = "text_config"
"""Some models of text and more say it within the config of their text part."""


def packing_of(model: str, config: Mapping[str, object]) -> Packing | None:
    """Return the format in which a model's weights are packed; None if they are plain.

    Raises:
        UnsupportedModel: The format, or a setting of it, is not implemented.

    """
    said = config.get(KEY) or _part(config).get(KEY)
    if not said:
        return None
    method = said.get("quant_method") if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(method, str | None):
        raise UnsupportedModel(model, f"its {KEY} is {said!r}, which names no way to quantise.")
    if method is None and ("load_in_4bit" in said or "load_in_8bit" in said):
        method = "bitsandbytes"  # which wrote no name at first
    if method not in METHODS:
        known = ", ".join(METHODS)
        raise UnsupportedModel(
            model, f"its weights are quantised by {method!r} ({KEY}), which is not one of: {known}."
        )
    return METHODS[method](QuantisationSettings(model, method, said))


def plain(config: Mapping[str, object]) -> dict[str, object]:
    """Return a config that says nothing of how weights are packed."""
    without = {name: value for name, value in config.items() if name != KEY}
    if KEY in (part := _part(config)):
        without[PART] = {name: value for name, value in part.items() if name != KEY}
    return without


def _part(config: Mapping[str, object]) -> Mapping[str, object]:
    part = config.get(PART)
    return part if isinstance(part, Mapping) else {}
