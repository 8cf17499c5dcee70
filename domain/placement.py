"""Device placement: resolve the options of `distribute` for the available hardware."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.errors import BadArgument, NotInstalled, OutOfReach
from litgpt.domain.messages import brief_repr
from litgpt.domain.quantization import QUANTIZATIONS, Quantization
from litgpt.domain.tensors import DType
from litgpt.domain.validators import integer, is_integer

Accelerator: TypeAlias = Literal["cpu", "cuda", "mps"]
Strategy: TypeAlias = Literal["sequential", "tensor_parallel"]
Link: TypeAlias = Literal["nccl", "gloo"]

# Lightning's names for a precision, as far as a model that only generates can be in it.
PRECISIONS: dict[str, DType] = {
    "32-true": "float32",
    "32": "float32",
    "bf16-true": "bfloat16",
    "16-true": "float16",
}


@attrs.frozen(kw_only=True)
class Hardware:
    """The hardware of this machine.

    Attributes:
        accelerator: The preferred device type.
        counts: The number of devices of each type.
        bfloat16: The device types with bfloat16 instructions.
        cpu_features: The CPU's instruction sets, as `litgpt.domain.arithmetic` names them.
        rank: The rank of this process, if torchrun or a similar launcher has started it.
        ranks: The world size; 1 without a launcher.
        ranks_here: The number of ranks on each machine; None: all of them.
        free: The free bytes of each device with a memory of its own.
        memory: The bytes of main memory that this process can still allocate; None: unknown.
        bitsandbytes: Whether bitsandbytes is installed.

    """

    accelerator: Accelerator = "cpu"
    counts: dict[Accelerator, int] = attrs.field(factory=lambda: {"cpu": 1})
    bfloat16: frozenset[Accelerator] = frozenset({"cpu"})
    cpu_features: frozenset[str] = frozenset({"avx2", "avx512f", "avx512_bf16"})
    rank: int = 0
    ranks: int = 1
    ranks_here: int | None = None
    free: dict[str, int] = attrs.field(factory=dict)
    memory: int | None = None
    bitsandbytes: bool = True

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class Wish:
    """The arguments of `distribute`, unchecked."""

    accelerator: str = "auto"
    devices: int | Sequence[int] | str = "auto"
    precision: str | None = None
    quantize: str | None = None
    generate_strategy: str | None = None
    fixed_kv_cache_size: int | str | None = None

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class Placement:
    """The devices of a model, its dtype and its quantization.

    Attributes:
        devices: As torch writes them: `cpu`, `cuda:0`, `mps`.
        dtype: The dtype of weights and activations.
        strategy: How the model is distributed over the devices; None: on one device.
        cache_size: The size of every KV cache in tokens; None: as long as needed; "max": the model's
            context length.
        resident: The number of layers on the device, counted from the first, if not all fit; the rest stay
            on the CPU and are computed there. None: all layers.
        quantize: The quantization of the projections; None: none.
        given: The index of this process's device, if a launcher has started one process per device; None:
            this process uses all devices.
        machines: The number of machines; each has the same number of devices.
        trains: Whether the weights are trained, and need gradients.

    """

    devices: tuple[str, ...]
    dtype: DType
    strategy: Strategy | None = None
    cache_size: int | Literal["max"] | None = None
    resident: int | None = None
    quantize: Quantization | None = None
    given: int | None = None
    machines: int = 1
    trains: bool = False

    __repr__ = brief_repr

    @property
    def device(self) -> str:
        """The device of inputs and outputs: the first device, or that of this process."""
        return self.devices[self.given or 0]

    @property
    def link(self) -> Link:
        """The communication backend of the ranks; NCCL needs a CUDA device of its own for each rank."""
        here = self.devices[: len(self.devices) // self.machines]
        apart = len(set(here)) == len(here) and all(one.startswith("cuda") for one in here)
        return "nccl" if apart else "gloo"


def decide(wish: Wish, hardware: Hardware, *, rounds: bool = False) -> Placement:
    """Return the placement of a model.

    Args:
        wish: The arguments of `distribute`.
        hardware: The hardware of this machine.
        rounds: Whether bfloat16 would round the stored weights; by default, a CPU does not round them
            (docs/decisions/arithmetic.md).

    Raises:
        BadArgument: An argument is not valid.
        WrongType: An argument has the wrong type.
        OutOfReach: The hardware is not available.

    """
    accelerator = _accelerator(wish.accelerator, hardware)
    strategy = _strategy(wish.generate_strategy)
    quantize = _quantization(wish, accelerator, hardware)
    given = strategy == "tensor_parallel" and hardware.ranks > 1
    return Placement(
        devices=(_given if given else _devices)(wish, accelerator, hardware),
        given=hardware.rank if given else None,
        machines=hardware.ranks // (hardware.ranks_here or hardware.ranks) if given else 1,
        dtype=_dtype(wish.precision, accelerator, hardware, rounds=rounds and quantize is None),
        strategy=strategy,
        cache_size=_cache_size(wish.fixed_kv_cache_size),
        quantize=quantize,
    )


def to_train(dtype: DType, quantize: str | None, hardware: Hardware) -> Placement:
    """Return the placement of a model that the Lightning Trainer moves and trains.

    Args:
        dtype: The dtype of its weights.
        quantize: The quantization of the frozen projections; None: none.
        hardware: The hardware of this machine.

    Raises:
        BadArgument: The quantization does not exist.
        NotInstalled: The quantization needs bitsandbytes.

    """
    how = _quantization(Wish(quantize=quantize), "cpu", hardware)
    return Placement(devices=("cpu",), dtype=dtype, quantize=how, trains=True)


def missing(wish: Wish, placement: Placement) -> str | None:
    """Return a warning if several devices were requested but there is no GPU; None otherwise.

    Args:
        wish: The arguments of `distribute`.
        placement: The placement that follows from them.

    """
    on_cpu = placement.device.startswith("cpu") and placement.given is None
    if wish.accelerator != "auto" or placement.strategy is None or not on_cpu:
        return None
    count = len(placement.devices)
    if count == 1:
        instead = "the model runs on the CPU"
    elif placement.strategy == "tensor_parallel":
        instead = f"the {count} devices are processes that share the CPU"
    else:
        instead = f"the {count} devices are all the CPU, which saves neither time nor memory"
    return f"No GPU was found, or torch was built without GPU support: {instead}."


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
            f"accelerator={wish!r}", f"no {found} device was found, or torch was built without it."
        )
    return found


def _strategy(wish: object) -> Strategy | None:
    match wish:
        case None | "sequential" | "tensor_parallel":
            return wish
        case _:
            raise BadArgument("generate_strategy", wish, "None, 'sequential' or 'tensor_parallel'")


def _given(wish: Wish, accelerator: Accelerator, hardware: Hardware) -> tuple[str, ...]:
    """Return the devices of the ranks that a launcher has started, one per rank."""
    if wish.devices not in ("auto", hardware.ranks):
        expected = f"'auto' or {hardware.ranks}, the number of processes that torchrun started"
        raise BadArgument("devices", wish.devices, expected)
    there = hardware.counts.get(accelerator, 0)
    # Each machine has the same number of ranks, numbered machine by machine.
    on_each = [rank % (hardware.ranks_here or hardware.ranks) for rank in range(hardware.ranks)]
    numbers = range(hardware.ranks) if accelerator == "cpu" else [number % there for number in on_each]
    return tuple(f"{accelerator}:{number}" for number in numbers)


def _devices(wish: Wish, accelerator: Accelerator, hardware: Hardware) -> tuple[str, ...]:
    """Return the devices, as torch writes them."""
    there = hardware.counts.get(accelerator, 0)
    if wish.devices == "auto":
        numbers = list(range(there if wish.generate_strategy is not None else 1))
    elif not isinstance(wish.devices, (list, tuple)):
        expected = "a positive integer, a list of device indices, or 'auto'"
        numbers = list(range(integer("devices", wish.devices, 1, expected)))
    else:
        numbers = list(wish.devices)
        distinct = {one for one in numbers if is_integer(one, 0)}
        if not numbers or len(distinct) != len(numbers):
            raise BadArgument("devices", wish.devices, "a list of distinct device indices")
    if len(numbers) > 1 and wish.generate_strategy is None:
        raise BadArgument(
            "generate_strategy",
            None,
            f"'sequential' or 'tensor_parallel' with devices={wish.devices!r}: without a strategy, a model "
            "uses one device",
        )
    # Several CPU devices are processes (tensor parallelism), or stand in for GPUs in tests.
    if accelerator != "cpu" and (beyond := [one for one in numbers if one >= there]):
        raise OutOfReach(
            f"devices={wish.devices!r}",
            f"only {there} {accelerator} device(s) were found, so there is no device {beyond[0]}.",
        )
    if accelerator == "mps" or (accelerator == "cpu" and len(numbers) == 1):
        return (accelerator,)
    return tuple(f"{accelerator}:{number}" for number in numbers)


def _quantization(wish: Wish, accelerator: Accelerator, hardware: Hardware) -> Quantization | None:
    if wish.quantize is None:
        return None
    found = next((one for one in QUANTIZATIONS if one == wish.quantize), None)
    if found is None:
        raise BadArgument("quantize", wish.quantize, f"None or one of {', '.join(QUANTIZATIONS)}")
    if not found.startswith("bnb."):
        return found
    if accelerator == "mps":
        raise OutOfReach(f"quantize={found!r}", "bitsandbytes does not support mps. Use 'int8' or 'int4'.")
    # Lightning's rule.
    if wish.precision is not None and not str(wish.precision).endswith("-true"):
        raise BadArgument(
            "precision", wish.precision, f"a '-true' precision with quantize={found!r}, such as 'bf16-true'"
        )
    if not hardware.bitsandbytes:
        raise NotInstalled(f"quantize={found!r}", "bitsandbytes", "pip install bitsandbytes")
    return found


def _dtype(wish: object, accelerator: Accelerator, hardware: Hardware, *, rounds: bool) -> DType:
    if wish is None:
        if accelerator == "cpu":  # faster tokens and half the memory: see docs/decisions/arithmetic.md
            return "float32" if rounds else "bfloat16"
        return "bfloat16" if accelerator in hardware.bfloat16 else "float16"
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
    expected = "a positive integer or 'max_model_supported'"
    return integer("fixed_kv_cache_size", wish, 1, expected)
