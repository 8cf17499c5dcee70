"""The engine that computes a model: torch, or the native engine on a CPU."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.quantization import Quantization

Engine: TypeAlias = Literal["native", "torch"]

NOT_BUILT = (
    "it was not built when litgpt was installed. Install a C++ compiler (on Debian and Ubuntu: "
    "apt install g++) or the Python package ziglang, then install litgpt again"
)


def resolve_engine(engine: object, obstacle: str | None) -> Engine:
    """Return the engine for the argument of `distribute`.

    Args:
        engine: The argument; None selects the native engine if it can compute the model.
        obstacle: The result of `native_obstacle`.

    Raises:
        InvalidArgument: The engine does not exist.
        UnsupportedOperation: The native engine cannot compute the model.
    """
    match engine:
        case None:
            return "native" if obstacle is None else "torch"
        case "torch":
            return engine
        case "native":
            if obstacle is not None:
                raise UnsupportedOperation("engine='native'", f"{obstacle}, or use engine='torch'.")
            return engine
        case _:
            raise InvalidArgument("engine", engine, "None, 'native' or 'torch'")


def native_obstacle(
    devices: Sequence[str], quantize: Quantization | None, missing_part: str | None, *, has_native: bool
) -> str | None:
    """Return why the native engine cannot compute a model, and a remedy; None if it can.

    Args:
        devices: The devices of the model, as in `Placement`.
        quantize: The quantization of its weights.
        missing_part: A part of the model that the engine does not have; None if it has all.
        has_native: `Hardware.has_native_engine`.
    """
    kind = devices[0].partition(":")[0]
    if kind != "cpu":
        return f"it runs on a CPU and not on {kind}. Use accelerator='cpu'"
    if len(devices) > 1:
        return f"it runs on one device and not on {len(devices)}. Use devices=1"
    if quantize is not None and quantize.startswith("bnb."):
        return f"it does not support quantize={quantize!r}. Use quantize='int8' or 'int4'"
    if missing_part is not None:
        return f"it does not support {missing_part} in this version. Use engine=None"
    return None if has_native else NOT_BUILT
