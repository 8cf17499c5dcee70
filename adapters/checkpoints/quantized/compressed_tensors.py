"""compressed-tensors, the format of llm-compressor. Of its many schemes only FP8 is supported."""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.quantized.fp8 import Fp8, parse_block_size
from litgpt.adapters.checkpoints.quantized.quantization_config import QuantizationConfig

FORMATS = ("float-quantized", "naive-quantized")


def read_compressed_tensors(settings: QuantizationConfig) -> Fp8:
    """Return the format of a config, which must be symmetric FP8 with static scales, equal in all layers."""
    settings.require_one_of("format", *FORMATS)
    sparsity = settings.values.get("sparsity_config")
    if sparsity and not (isinstance(sparsity, Mapping) and sparsity.get("format") in (None, "dense")):
        settings.raise_unsupported("sparsity_config", sparsity)
    if transform := settings.values.get("transform_config"):
        settings.raise_unsupported("transform_config", transform)
    groups = settings.values.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        settings.raise_unsupported("config_groups", groups, "does not define any groups")
    # A group without weights only quantizes activations.
    weight_groups = {name: group for name, group in groups.items() if _weights_of(group) is not None}
    formats = {_group(settings, name, group) for name, group in weight_groups.items()}
    if not formats:
        settings.raise_unsupported("config_groups", dict(groups), "does not quantize weights")
    if len(formats) != 1:
        settings.raise_unsupported("config_groups", dict(groups), "has several block sizes")
    return formats.pop()


def _weights_of(group: object) -> object:
    return group.get("weights") if isinstance(group, Mapping) else group


def _group(settings: QuantizationConfig, name: str, group: object) -> Fp8:
    where = f"config_groups.{name}"
    weights = _weights_of(group)
    if not isinstance(weights, Mapping) or not isinstance(group, Mapping):
        settings.raise_unsupported(where, group, "does not quantize weights")
    if group.get("format") not in (None, *FORMATS):
        settings.raise_unsupported(f"{where}.format", group.get("format"))
    expected = {"num_bits": (8,), "type": ("float",), "symmetric": (True, None), "dynamic": (False, None)}
    for key, allowed in expected.items():
        if weights.get(key) not in allowed:
            settings.raise_unsupported(f"{where}.weights.{key}", weights.get(key))
    strategy, block = weights.get("strategy"), weights.get("block_structure")
    if strategy not in ("tensor", "channel", "block", None) or (strategy == "block") != bool(block):
        settings.raise_unsupported(f"{where}.weights.strategy", strategy)
    return Fp8(parse_block_size(settings, f"{where}.weights.block_structure", block or None))
