"""Where a model is to live: what was wished for, what hardware there is, and what follows."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.errors import BadArgument, OutOfReach, WrongType
from litgpt.domain.tensors import DType

Accelerator: TypeAlias = Literal["cpu", "cuda", "mps"]

# Lightning's names for a precision, as far as a model that only generates can be in it.
PRECISIONS: dict[str, DType] = {
    "32-true": "float32",
    "32": "float32",
    "bf16-true": "bfloat16",
    "16-true": "float16",
}


@attrs.frozen(kw_only=True)
class Hardware:
    """What this machine has.

    Attributes:
        accelerator: The best kind of device here.
        counts: How many devices of each kind there are.
        bfloat16: The kinds that compute in bfloat16.

    """

    accelerator: Accelerator = "cpu"
    counts: dict[Accelerator, int] = attrs.field(factory=lambda: {"cpu": 1})
    bfloat16: frozenset[Accelerator] = frozenset({"cpu"})


@attrs.frozen(kw_only=True)
class Wish:
    """What the caller of `distribute` asked for, unchecked, in the contract's words."""

    accelerator: str = "auto"
    devices: int | str = "auto"
    precision: str | None = None
    quantize: str | None = None
    generate_strategy: str | None = None
    fixed_kv_cache_size: int | str | None = None


@attrs.frozen(kw_only=True)
class Placement:
    """Where a model lives and in which dtype.

    Attributes:
        device: As torch writes it: `cpu`, `cuda:0`, `mps`.
        dtype: What weights and activations are in.
        devices: How many devices that is.
        cache_size: The tokens that every KV cache holds; None lets each be as long as it needs,
            and "max" is the model's context.

    """

    device: str
    dtype: DType
    devices: int = 1
    cache_size: int | Literal["max"] | None = None


def decide(wish: Wish, hardware: Hardware) -> Placement:
    """Return where a model is to live, by rules that need no device to be tested.

    Raises:
        BadArgument: A name or number cannot be right.
        WrongType: An argument is of the wrong type.
        OutOfReach: The hardware, or this version, does not have it.

    """
    accelerator = _accelerator(wish.accelerator, hardware)
    _one_device(wish, accelerator, hardware)
    _no_quantization(wish.quantize)
    return Placement(
        device=accelerator if accelerator != "cuda" else "cuda:0",
        dtype=_dtype(wish.precision, accelerator, hardware),
        cache_size=_cache_size(wish.fixed_kv_cache_size),
    )


def _accelerator(wish: object, hardware: Hardware) -> Accelerator:
    match wish:
        case "auto":
            return hardware.accelerator
        case "cpu":
            return "cpu"
        case "cuda" | "mps":
            found: Accelerator = wish
        case "gpu":
            found = "mps" if hardware.accelerator == "mps" else "cuda"
        case _:
            raise BadArgument(
                "accelerator", wish, "one of 'auto', 'cpu', 'gpu', 'cuda' and 'mps' (Invalid accelerator)"
            )
    if not hardware.counts.get(found):
        raise OutOfReach(
            f"accelerator={wish!r}", f"there is no {found} device here, or torch was built without it."
        )
    return found


def _one_device(wish: Wish, accelerator: Accelerator, hardware: Hardware) -> None:
    if wish.generate_strategy not in (None, "sequential", "tensor_parallel"):
        raise BadArgument(
            "generate_strategy", wish.generate_strategy, "None, 'sequential' or 'tensor_parallel'"
        )
    if wish.generate_strategy is not None:
        raise OutOfReach(
            f"generate_strategy={wish.generate_strategy!r}",
            "this version runs on one device. Leave generate_strategy out.",
        )
    if wish.devices == "auto":
        return
    if isinstance(wish.devices, bool) or not isinstance(wish.devices, int):
        raise WrongType("devices", wish.devices, "a number of devices or 'auto'")
    if wish.devices < 1:
        raise BadArgument("devices", wish.devices, "1 or more, or 'auto'")
    there = hardware.counts.get(accelerator, 0)
    if wish.devices > 1 and accelerator != "cpu" and wish.devices > there:
        raise OutOfReach(f"devices={wish.devices}", f"there are {there} {accelerator} device(s) here.")
    if wish.devices > 1:
        raise OutOfReach(
            f"devices={wish.devices} with generate_strategy=None",
            "one device is all that a model without a strategy uses. Pass devices=1.",
        )


QUANTIZATIONS = ("bnb.nf4", "bnb.nf4-dq", "bnb.fp4", "bnb.fp4-dq", "bnb.int8")


def _no_quantization(wish: object) -> None:
    if wish is None:
        return
    if wish not in QUANTIZATIONS:
        raise BadArgument("quantize", wish, f"None or one of {', '.join(QUANTIZATIONS)}")
    raise OutOfReach(f"quantize={wish!r}", "this version does not quantize. Leave quantize out.")


def _dtype(wish: object, accelerator: Accelerator, hardware: Hardware) -> DType:
    if wish is None:
        if accelerator in hardware.bfloat16:
            return "bfloat16"
        return "float32" if accelerator == "cpu" else "float16"
    if isinstance(wish, str) and wish.endswith("-mixed"):
        raise BadArgument(
            "precision",
            wish,
            "a '-true' precision: mixed precision is for training with the Lightning Trainer",
        )
    if wish not in PRECISIONS:
        raise BadArgument("precision", wish, f"None or one of {', '.join(PRECISIONS)}")
    return PRECISIONS[str(wish)]


def _cache_size(wish: object) -> int | Literal["max"] | None:
    if wish is None:
        return None
    if wish == "max_model_supported":
        return "max"
    if isinstance(wish, bool) or not isinstance(wish, int):
        raise WrongType("fixed_kv_cache_size", wish, "a number of tokens or 'max_model_supported'")
    if wish < 1:
        raise BadArgument("fixed_kv_cache_size", wish, "1 or more")
    return wish
