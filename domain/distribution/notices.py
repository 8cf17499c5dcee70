"""What is reported about the placement of a model."""

from litgpt.domain.distribution.engine import NOT_BUILT
from litgpt.domain.distribution.placement import DistributeOptions, Hardware, Placement


def no_gpu_warning(options: DistributeOptions, placement: Placement) -> str | None:
    """Return a warning if several devices were requested without a GPU; None otherwise."""
    on_cpu = placement.device.startswith("cpu") and placement.local_rank is None
    if options.accelerator != "auto" or placement.strategy is None or not on_cpu:
        return None
    count = len(placement.devices)
    if count == 1:
        instead = "the model runs on the CPU"
    elif placement.strategy == "tensor_parallel":
        instead = f"the {count} devices are processes that share the CPU"
    else:
        instead = f"the {count} devices are all the CPU, which saves neither time nor memory"
    return f"No GPU was found, or torch was built without GPU support: {instead}."


def torch_notice(
    options: DistributeOptions, placement: Placement, hardware: Hardware, missing_part: str | None
) -> str | None:
    """Return why a model on one CPU is computed with PyTorch by default, which is slower; None otherwise."""
    is_default = options.engine is None and placement.engine == "torch"
    if not is_default or placement.devices != ("cpu",):
        return None
    if missing_part is not None:
        return f"The model is computed with PyTorch: the native engine does not support {missing_part}."
    if hardware.has_native_engine:
        return None
    return f"The model is computed with PyTorch, not with the faster native engine: {NOT_BUILT}."
