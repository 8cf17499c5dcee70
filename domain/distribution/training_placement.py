"""The placement of a model that is trained."""

from litgpt.domain.distribution.engine import check_bridge_options
from litgpt.domain.distribution.placement import (
    DistributeOptions,
    Hardware,
    Placement,
    resolve_quantization,
)
from litgpt.domain.weights.tensor_info import DType


def training_placement(
    dtype: DType, quantize: str | None, hardware: Hardware, *, bridged: str | None = None
) -> Placement:
    """Return the placement of a model that the Lightning Trainer moves and trains.

    `bridged` is as for `resolve_placement`.
    """
    quantization = resolve_quantization(DistributeOptions(quantize=quantize), "cpu", hardware)
    devices = ("cpu",)
    if bridged is not None:
        check_bridge_options(devices, None, quantization)
    return Placement(
        devices=devices,
        dtype=dtype,
        quantize=quantization,
        trainable=True,
        engine="torch" if bridged is None else "transformers",
    )
