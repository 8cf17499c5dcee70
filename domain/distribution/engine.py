"""The engine that computes a model: torch, or the native engine on a CPU."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.quantization import Quantization

Engine: TypeAlias = Literal["native", "torch"]

DEFAULT_ENGINE: Engine = "torch"
"""The engine of `engine=None` in this version."""

_USE_TORCH = "or use engine='torch'."


def resolve_engine(
    engine: object, devices: Sequence[str], quantize: Quantization | None, *, has_native: bool
) -> Engine:
    """Return the engine for the argument of `distribute`.

    Args:
        engine: The argument.
        devices: The devices of the model, as in `Placement`.
        quantize: The quantization of its weights.
        has_native: `Hardware.has_native_engine`.

    Raises:
        InvalidArgument: The engine does not exist.
        UnsupportedOperation: The native engine does not support the placement, or is not installed.
    """
    match engine:
        case None:
            return DEFAULT_ENGINE
        case "torch":
            return engine
        case "native":
            pass
        case _:
            raise InvalidArgument("engine", engine, "None, 'native' or 'torch'")
    reason = None
    kind = devices[0].partition(":")[0]
    if kind != "cpu":
        reason = f"it runs on a CPU and not on {kind}. Use accelerator='cpu', {_USE_TORCH}"
    elif len(devices) > 1:
        reason = f"it runs on one device and not on {len(devices)}. Use devices=1, {_USE_TORCH}"
    elif quantize is not None and quantize.startswith("bnb."):
        reason = f"it does not support quantize={quantize!r}. Use quantize='int8' or 'int4', {_USE_TORCH}"
    elif not has_native:
        reason = (
            "it was not built when litgpt was installed. Install a C++ compiler (on Debian and Ubuntu: "
            f"apt install g++) or the Python package ziglang, then install litgpt again, {_USE_TORCH}"
        )
    if reason is not None:
        raise UnsupportedOperation("engine='native'", reason)
    return "native"
