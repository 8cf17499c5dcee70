"""Where a model is to live: what was wished for, what hardware there is, and what follows."""

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
    """What this machine has.

    Attributes:
        accelerator: The best kind of device here.
        counts: How many devices of each kind there are.
        bfloat16: The kinds that have instructions for bfloat16.
        cpu_features: The CPU's instruction sets, as `litgpt.domain.arithmetic` names them.
        rank: Which of the ranks this process is, that torchrun or a program like it has started.
        ranks: How many it has started; 1 if none has.
        ranks_here: How many of them are on this machine, and so on each; None: all.
        free: The bytes that are free on devices that have a memory of their own, by device.
        memory: The bytes that this process can still allocate in the machine's memory; None: not known.
        bitsandbytes: Whether that package is installed.

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
    """What the caller of `distribute` asked for, unchecked, in the contract's words."""

    accelerator: str = "auto"
    devices: int | Sequence[int] | str = "auto"
    precision: str | None = None
    quantize: str | None = None
    generate_strategy: str | None = None
    fixed_kv_cache_size: int | str | None = None

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class Placement:
    """Where a model lives and in which dtype.

    Attributes:
        devices: As torch writes them: `cpu`, `cuda:0`, `mps`.
        dtype: What weights and activations are in.
        strategy: How the model is spread over them; None: it is on one.
        cache_size: The tokens that every KV cache holds; None lets each be as long as it needs,
            and "max" is the model's context.
        resident: How many layers, from the first, are on the device, where not all fit; the others stay with
            the CPU and are computed there. None: all are.
        quantize: How projections are quantised; None: they are not.
        given: Which of the devices is this process's, where each has a process that was started from outside;
            None: all are.
        machines: Over how many machines the devices are; each has as many.
        trains: Whether the weights are there to be trained, and so have gradients.

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
        """Where prompts go, and answers come from: the first of them, or this process's."""
        return self.devices[self.given or 0]

    @property
    def link(self) -> Link:
        """By what ranks talk: NCCL needs a CUDA device for each, which is no other's."""
        here = self.devices[: len(self.devices) // self.machines]
        apart = len(set(here)) == len(here) and all(one.startswith("cuda") for one in here)
        return "nccl" if apart else "gloo"


def decide(wish: Wish, hardware: Hardware, *, rounds: bool = False) -> Placement:
    """Return where a model is to live, by rules that need no device to be tested.

    Args:
        wish: What was asked for.
        hardware: What this machine has.
        rounds: Whether bfloat16 would round what the checkpoint stores. By default a CPU does not round it
            (docs/decisions/arithmetic.md).

    Raises:
        BadArgument: A name or number cannot be right.
        WrongType: An argument is of the wrong type.
        OutOfReach: The hardware, or this version, does not have it.

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
    """Return where a model is put for something else, such as the Lightning Trainer, to move and to train.

    Args:
        dtype: What its weights are in.
        quantize: How projections are quantised that are not trained themselves; None: they are not.
        hardware: What this machine has.

    Raises:
        BadArgument: There is no such way to quantise.
        NotInstalled: It needs bitsandbytes.

    """
    how = _quantization(Wish(quantize=quantize), "cpu", hardware)
    return Placement(devices=("cpu",), dtype=dtype, quantize=how, trains=True)


def missing(wish: Wish, placement: Placement) -> str | None:
    """Return what to tell who wants a model on several devices, where there are none; None if there are.

    Args:
        wish: What was asked for.
        placement: What was decided.

    """
    on_cpu = placement.device.startswith("cpu") and placement.given is None
    if wish.accelerator != "auto" or placement.strategy is None or not on_cpu:
        return None
    count = len(placement.devices)
    if count == 1:
        instead = "the model is on the CPU, whole"
    elif placement.strategy == "tensor_parallel":
        instead = f"the {count} devices are processes that share the cores of its CPU"
    else:
        instead = f"the {count} devices are all its CPU, which has one memory, so that nothing is gained"
    return f"This machine has no GPU, or torch was built without it: {instead}."


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


def _strategy(wish: object) -> Strategy | None:
    match wish:
        case None | "sequential" | "tensor_parallel":
            return wish
        case _:
            raise BadArgument("generate_strategy", wish, "None, 'sequential' or 'tensor_parallel'")


def _given(wish: Wish, accelerator: Accelerator, hardware: Hardware) -> tuple[str, ...]:
    """Return the devices of ranks that were started from outside, one each."""
    if wish.devices not in ("auto", hardware.ranks):
        expected = f"'auto' or {hardware.ranks}: torchrun has started so many processes"
        raise BadArgument("devices", wish.devices, expected)
    there = hardware.counts.get(accelerator, 0)
    # Each machine has as many, and they are numbered machine by machine.
    on_each = [rank % (hardware.ranks_here or hardware.ranks) for rank in range(hardware.ranks)]
    numbers = range(hardware.ranks) if accelerator == "cpu" else [number % there for number in on_each]
    return tuple(f"{accelerator}:{number}" for number in numbers)


def _devices(wish: Wish, accelerator: Accelerator, hardware: Hardware) -> tuple[str, ...]:
    """Return the devices, as torch writes them."""
    there = hardware.counts.get(accelerator, 0)
    if wish.devices == "auto":
        numbers = list(range(there if wish.generate_strategy is not None else 1))
    elif not isinstance(wish.devices, (list, tuple)):
        expected = "a positive integer, a list of the numbers of devices, or 'auto'"
        numbers = list(range(integer("devices", wish.devices, 1, expected)))
    else:
        numbers = list(wish.devices)
        distinct = {one for one in numbers if is_integer(one, 0)}
        if not numbers or len(distinct) != len(numbers):
            raise BadArgument("devices", wish.devices, "numbers of devices from 0, each once")
    if len(numbers) > 1 and wish.generate_strategy is None:
        raise BadArgument(
            "generate_strategy",
            None,
            f"'sequential' or 'tensor_parallel' with devices={wish.devices!r}: without a strategy a model "
            "is on one device",
        )
    # A CPU has no devices of its own; several are processes, or stand in for devices in a test.
    if accelerator != "cpu" and (beyond := [one for one in numbers if one >= there]):
        raise OutOfReach(
            f"devices={wish.devices!r}",
            f"there are {there} {accelerator} device(s) here, and none has the number {beyond[0]}.",
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
        raise OutOfReach(f"quantize={found!r}", "bitsandbytes does not know mps. Use 'int8' or 'int4'.")
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
