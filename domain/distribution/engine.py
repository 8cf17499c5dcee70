"""The engine that computes a model: torch, the native engine on a CPU, or transformers."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.quantization import Quantization

Engine: TypeAlias = Literal["native", "torch", "transformers"]
KVCacheFormat: TypeAlias = Literal["int8"]

NOT_BUILT = (
    "it was not built when litgpt was installed. Install a C++ compiler (on Debian and Ubuntu: "
    "apt install g++) or the Python package ziglang, then install litgpt again"
)


def resolve_engine(engine: object, obstacle: str | None, *, bridged: str | None = None) -> Engine:
    """Return the engine for the argument of `distribute`.

    Args:
        engine: The argument; None selects the native engine if it can compute the model.
        obstacle: The result of `native_obstacle`.
        bridged: Why transformers computes the model; None if this library's own network has all of it.

    Raises:
        InvalidArgument: The engine does not exist.
        UnsupportedOperation: The native engine cannot compute the model.
    """
    match engine:
        case None | "transformers" if bridged is not None:
            return "transformers"
        case "torch" | "native" if bridged is not None:
            reason = f"{bridged}. Use engine=None, with which transformers computes it."
            raise UnsupportedOperation(f"engine={engine!r}", reason)
        case "transformers":
            return engine
        case None:
            return "native" if obstacle is None else "torch"
        case "torch":
            return engine
        case "native":
            if obstacle is not None:
                raise UnsupportedOperation("engine='native'", f"{obstacle}, or use engine='torch'.")
            return engine
        case _:
            raise InvalidArgument("engine", engine, "None, 'native', 'torch' or 'transformers'")


def check_bridge_options(devices: Sequence[str], strategy: str | None, quantize: str | None) -> None:
    """Check that transformers can compute a model as it is to be placed.

    Raises:
        UnsupportedOperation: It cannot.
    """
    with_it = "not possible for a model that transformers computes"
    if strategy is not None or len(devices) > 1:
        asked = f"devices={len(devices)}" if strategy is None else f"generate_strategy={strategy!r}"
        raise UnsupportedOperation(asked, f"it is {with_it}. Use devices=1 and generate_strategy=None.")
    if quantize is not None:
        reason = f"it is {with_it}. Use quantize=None, and precision= to save memory."
        raise UnsupportedOperation(f"quantize={quantize!r}", reason)


def resolve_kv_cache(kv_cache: object, engine: Engine, obstacle: str | None) -> KVCacheFormat | None:
    """Return the format of keys and values for the argument of `distribute`; None: the dtype of the model.

    Args:
        kv_cache: The argument.
        engine: The result of `resolve_engine`.
        obstacle: The result of `native_obstacle`.

    Raises:
        InvalidArgument: The format does not exist.
        UnsupportedOperation: The engine does not have the format.
    """
    match kv_cache:
        case None:
            return None
        case "int8":
            if engine == "native":
                return kv_cache
            only = "only the native engine has it"
            reason = f"{only}. Use engine='native'" if obstacle is None else f"{only}, and {obstacle}"
            raise UnsupportedOperation("kv_cache='int8'", f"{reason}, or use kv_cache=None.")
        case _:
            raise InvalidArgument("kv_cache", kv_cache, "None or 'int8'")


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
        return f"it does not support {missing_part} in this version. Use another model"
    return None if has_native else NOT_BUILT
