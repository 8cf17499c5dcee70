"""compressed-tensors, which llm-compressor writes: eight-bit floats out of its many formats."""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.quantised.fp8 import Fp8, block_of
from litgpt.adapters.checkpoints.quantised.settings import QuantisationSettings

FORMATS = ("float-quantized", "naive-quantized")


def read_compressed_tensors(settings: QuantisationSettings) -> Fp8:
    """Return the packing that a config tells.

    Raises:
        UnsupportedModel: It is any but eight-bit floats, symmetric, with fixed scales, alike for all layers.

    """
    settings.check("format", *FORMATS)
    sparsity = settings.values.get("sparsity_config")
    if sparsity and not (isinstance(sparsity, Mapping) and sparsity.get("format") in (None, "dense")):
        settings.refuse("sparsity_config", sparsity)
    if transform := settings.values.get("transform_config"):
        settings.refuse("transform_config", transform)
    groups = settings.values.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        settings.refuse("config_groups", groups, "says nothing of any layer")
    # A group without weights is of activations alone.
    of_weights = {name: group for name, group in groups.items() if _weights_of(group) is not None}
    found = {_group(settings, name, group) for name, group in of_weights.items()}
    if not found:
        settings.refuse("config_groups", dict(groups), "says nothing of weights")
    if len(found) != 1:
        settings.refuse("config_groups", dict(groups), "has blocks of several sizes")
    return found.pop()


def _weights_of(group: object) -> object:
    return group.get("weights") if isinstance(group, Mapping) else group


def _group(settings: QuantisationSettings, name: str, group: object) -> Fp8:
    where = f"config_groups.{name}"
    weights = _weights_of(group)
    if not isinstance(weights, Mapping) or not isinstance(group, Mapping):
        settings.refuse(where, group, "says nothing of weights")
    if group.get("format") not in (None, *FORMATS):
        settings.refuse(f"{where}.format", group.get("format"))
    asked = {"num_bits": (8,), "type": ("float",), "symmetric": (True, None), "dynamic": (False, None)}
    for key, allowed in asked.items():
        if weights.get(key) not in allowed:
            settings.refuse(f"{where}.weights.{key}", weights.get(key))
    strategy, block = weights.get("strategy"), weights.get("block_structure")
    if strategy not in ("tensor", "channel", "block", None) or (strategy == "block") != bool(block):
        settings.refuse(f"{where}.weights.strategy", strategy)
    return Fp8(block_of(settings, f"{where}.weights.block_structure", block or None))
