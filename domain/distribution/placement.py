"""Device placement: resolve the options of `distribute` for the available hardware."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.distribution.engine import (
    Engine,
    KVCacheFormat,
    check_bridge_options,
    native_obstacle,
    resolve_engine,
    resolve_kv_cache,
)
from litgpt.domain.errors import (
    HardwareUnavailable,
    InvalidArgument,
    MissingArgument,
    NotInstalled,
    UnsupportedOperation,
)
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.quantization import QUANTIZATIONS, Quantization
from litgpt.domain.validators import integer, is_integer, similar_choices
from litgpt.domain.weights.tensor_info import DType

Accelerator: TypeAlias = Literal["cpu", "cuda", "mps"]
Strategy: TypeAlias = Literal["sequential", "tensor_parallel"]
CollectiveBackend: TypeAlias = Literal["nccl", "gloo"]

# Lightning's names of the precisions that are valid for inference.
PRECISIONS: dict[str, DType] = {
    "32-true": "float32",
    "32": "float32",
    "bf16-true": "bfloat16",
    "16-true": "float16",
}


@attrs.frozen(kw_only=True)
class Hardware:
    """The hardware of this machine; ranks and world sizes are those of torchrun or a similar launcher.

    Attributes:
        accelerator: The preferred device type.
        bfloat16_accelerators: The device types with bfloat16 instructions.
        cpu_features: The CPU's instruction sets, as `litgpt.domain.distribution.cpu_matmul` names them.
        local_world_size: The number of ranks on each machine; None: all of them.
        free_device_memory: The free bytes of each device with a memory of its own.
        available_host_memory: The bytes of main memory that this process can still allocate; None: unknown.
        has_native_engine: Whether the native engine was built when this library was installed.
    """

    accelerator: Accelerator = "cpu"
    device_counts: dict[Accelerator, int] = attrs.field(factory=lambda: {"cpu": 1})
    bfloat16_accelerators: frozenset[Accelerator] = frozenset({"cpu"})
    cpu_features: frozenset[str] = frozenset({"avx2", "avx512f", "avx512_bf16"})
    rank: int = 0
    world_size: int = 1
    local_world_size: int | None = None
    free_device_memory: dict[str, int] = attrs.field(factory=dict)
    available_host_memory: int | None = None
    has_bitsandbytes: bool = True
    has_native_engine: bool = False

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class DistributeOptions:
    """The arguments of `distribute`, unchecked."""

    accelerator: str = "auto"
    devices: int | Sequence[int] | str = "auto"
    precision: str | None = None
    quantize: str | None = None
    generate_strategy: str | None = None
    fixed_kv_cache_size: int | str | None = None
    engine: str | None = None
    kv_cache: str | None = None

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class Placement:
    """The devices of a model, its dtype and its quantization.

    Attributes:
        devices: As torch writes them: `cpu`, `cuda:0`, `mps`.
        dtype: The dtype of weights and activations.
        strategy: How the model is distributed over the devices; None: on one device.
        kv_cache_size: The size of every KV cache in tokens; None: as long as needed; "max": the model's
            context length.
        num_gpu_layers: The number of leading layers on the device if not all fit; the others are computed on
            the CPU. None: all layers.
        local_rank: The index of this process's device, if a launcher has started one process per device;
            None: this process uses all devices.
        num_nodes: The number of machines; each has the same number of devices.
        trainable: Whether the weights are trained, and need gradients.
        engine: The engine that computes the model.
        keeps_quantization: Whether quantized weights of the checkpoint stay in their format where the engine
            has kernels for it, instead of being dequantized to `dtype`.
        kv_cache: The format of cached keys and values; None: `dtype`.
    """

    devices: tuple[str, ...]
    dtype: DType
    strategy: Strategy | None = None
    kv_cache_size: int | Literal["max"] | None = None
    num_gpu_layers: int | None = None
    quantize: Quantization | None = None
    local_rank: int | None = None
    num_nodes: int = 1
    trainable: bool = False
    engine: Engine = "torch"
    keeps_quantization: bool = False
    kv_cache: KVCacheFormat | None = None

    __repr__ = brief_repr

    @property
    def device(self) -> str:
        """The device of inputs and outputs: the first device, or that of this process."""
        return self.devices[self.local_rank or 0]

    @property
    def backend(self) -> CollectiveBackend:
        """The communication backend of the ranks; NCCL needs a CUDA device of its own for each rank."""
        here = self.devices[: len(self.devices) // self.num_nodes]
        apart = len(set(here)) == len(here) and all(device.startswith("cuda") for device in here)
        return "nccl" if apart else "gloo"


def resolve_placement(
    options: DistributeOptions,
    hardware: Hardware,
    *,
    bfloat16_loses_precision: bool = False,
    missing_part: str | None = None,
    bridged: str | None = None,
) -> Placement:
    """Return the placement of a model; `missing_part` is a part of it that the native engine does not have.

    `bridged` is why transformers computes the model; None if this library's own network does.

    By default, a CPU does not round the stored weights to bfloat16 (docs/decisions/arithmetic.md).

    Raises:
        InvalidArgument: An argument is not valid.
        WrongType: An argument has the wrong type.
        HardwareUnavailable: A device was not found.
        UnsupportedOperation: The device or the engine does not support the options.
    """
    on_cpu = options.engine == "native" and options.accelerator == "auto"
    accelerator = _accelerator("cpu" if on_cpu else options.accelerator, hardware)
    strategy = _strategy(options.generate_strategy)
    quantize = resolve_quantization(options, accelerator, hardware)
    launched = strategy == "tensor_parallel" and hardware.world_size > 1
    local_size = hardware.local_world_size or hardware.world_size
    rounds = bfloat16_loses_precision and quantize is None
    devices = (_torchrun_devices if launched else _devices)(options, accelerator, hardware)
    obstacle = native_obstacle(devices, quantize, missing_part, has_native=hardware.has_native_engine)
    engine = resolve_engine(options.engine, obstacle, bridged=bridged)
    if engine == "transformers":
        check_bridge_options(devices, strategy, quantize)
    return Placement(
        devices=devices,
        local_rank=hardware.rank if launched else None,
        num_nodes=hardware.world_size // local_size if launched else 1,
        dtype=_dtype(options.precision, accelerator, hardware, bfloat16_loses_precision=rounds),
        strategy=strategy,
        kv_cache_size=_cache_size(options.fixed_kv_cache_size),
        quantize=quantize,
        engine=engine,
        keeps_quantization=engine == "native" and quantize is None and options.precision is None,
        kv_cache=resolve_kv_cache(options.kv_cache, engine, obstacle),
    )


def _accelerator(accelerator: object, hardware: Hardware) -> Accelerator:
    match accelerator:
        case "auto":
            return hardware.accelerator
        case "cpu":
            return "cpu"
        case "cuda" | "mps":
            kind: Accelerator = accelerator
        case "gpu":
            kind = "mps" if hardware.accelerator == "mps" else "cuda"
        case _:
            expected = "one of 'auto', 'cpu', 'gpu', 'cuda' and 'mps' (Invalid accelerator)"
            raise InvalidArgument("accelerator", accelerator, expected)
    if not hardware.device_counts.get(kind):
        reason = f"no {kind} device was found, or torch was built without it."
        raise HardwareUnavailable(f"accelerator={accelerator!r}", reason)
    return kind


def _strategy(strategy: object) -> Strategy | None:
    match strategy:
        case None | "sequential" | "tensor_parallel":
            return strategy
        case _:
            raise InvalidArgument("generate_strategy", strategy, "None, 'sequential' or 'tensor_parallel'")


def _torchrun_devices(
    options: DistributeOptions, accelerator: Accelerator, hardware: Hardware
) -> tuple[str, ...]:
    """Return the devices of the ranks that a launcher has started, one per rank."""
    if options.devices not in ("auto", hardware.world_size):
        expected = f"'auto' or {hardware.world_size}, the number of processes that torchrun started"
        raise InvalidArgument("devices", options.devices, expected)
    count = hardware.device_counts.get(accelerator, 0)
    # Each machine has the same number of ranks, numbered machine by machine.
    ranks = range(hardware.world_size)
    local_size = hardware.local_world_size or hardware.world_size
    indices = ranks if accelerator == "cpu" else [rank % local_size % count for rank in ranks]
    return tuple(f"{accelerator}:{index}" for index in indices)


def _devices(options: DistributeOptions, accelerator: Accelerator, hardware: Hardware) -> tuple[str, ...]:
    count = hardware.device_counts.get(accelerator, 0)
    if options.devices == "auto":
        numbers = list(range(count if options.generate_strategy is not None else 1))
    elif not isinstance(options.devices, (list, tuple)):
        expected = "a positive integer, a list of device indices, or 'auto'"
        numbers = list(range(integer("devices", options.devices, 1, expected)))
    else:
        numbers = list(options.devices)
        distinct = {index for index in numbers if is_integer(index, 0)}
        if not numbers or len(distinct) != len(numbers):
            raise InvalidArgument("devices", options.devices, "a list of distinct device indices")
    if len(numbers) > 1 and options.generate_strategy is None:
        raise MissingArgument(
            "generate_strategy",
            None,
            f"pass 'sequential' or 'tensor_parallel', or devices=1 instead of devices={options.devices!r}.",
        )
    # Several CPU devices are processes (tensor parallelism), or stand in for GPUs in tests.
    if accelerator != "cpu" and (beyond := [index for index in numbers if index >= count]):
        raise HardwareUnavailable(
            f"devices={options.devices!r}",
            f"only {count} {accelerator} device(s) were found, not device {beyond[0]}.",
        )
    if accelerator == "mps" or (accelerator == "cpu" and len(numbers) == 1):
        return (accelerator,)
    return tuple(f"{accelerator}:{number}" for number in numbers)


def resolve_quantization(
    options: DistributeOptions, accelerator: Accelerator, hardware: Hardware
) -> Quantization | None:
    """Return the quantization of the weights; errors as in `resolve_placement`."""
    if options.quantize is None:
        return None
    quantize = next((name for name in QUANTIZATIONS if name == options.quantize), None)
    if quantize is None:
        expected = f"None or one of {', '.join(QUANTIZATIONS)}"
        similar = similar_choices(options.quantize, QUANTIZATIONS)
        raise InvalidArgument("quantize", options.quantize, expected, similar)
    if not quantize.startswith("bnb."):
        return quantize
    if accelerator == "mps":
        reason = "bitsandbytes does not support mps. Use 'int8' or 'int4'."
        raise UnsupportedOperation(f"quantize={quantize!r}", reason)
    # Lightning's bitsandbytes plugin has the same restriction.
    if options.precision is not None and not str(options.precision).endswith("-true"):
        expected = f"a '-true' precision with quantize={quantize!r}, such as 'bf16-true'"
        raise InvalidArgument("precision", options.precision, expected)
    if not hardware.has_bitsandbytes:
        raise NotInstalled(f"quantize={quantize!r}", "bitsandbytes", "pip install bitsandbytes")
    return quantize


def _dtype(
    precision: object, accelerator: Accelerator, hardware: Hardware, *, bfloat16_loses_precision: bool
) -> DType:
    if precision is None:
        if accelerator == "cpu":  # faster tokens and half the memory: see docs/decisions/arithmetic.md
            return "float32" if bfloat16_loses_precision else "bfloat16"
        return "bfloat16" if accelerator in hardware.bfloat16_accelerators else "float16"
    if isinstance(precision, str) and precision.endswith("-mixed"):
        expected = "a '-true' precision (mixed precision is for training with the Lightning Trainer)"
        raise InvalidArgument("precision", precision, expected)
    if precision not in PRECISIONS:
        raise InvalidArgument("precision", precision, f"None or one of {', '.join(PRECISIONS)}")
    return PRECISIONS[str(precision)]


def _cache_size(size: object) -> int | Literal["max"] | None:
    if size is None:
        return None
    if size == "max_model_supported":
        return "max"
    expected = "a positive integer or 'max_model_supported'"
    return integer("fixed_kv_cache_size", size, 1, expected)
