import re
from typing import Any

import attrs
import pytest

from litgpt.domain.distribution.notices import no_gpu_warning, torch_notice
from litgpt.domain.distribution.placement import (
    DistributeOptions,
    Hardware,
    Placement,
    resolve_placement,
)
from litgpt.domain.errors import InvalidArgument, LitGPTError, NotInstalled, UnsupportedOperation, WrongType

CPU = Hardware()
TWO_GPUS = Hardware(
    accelerator="cuda", device_counts={"cpu": 1, "cuda": 2}, bfloat16_accelerators=frozenset({"cpu", "cuda"})
)
OLD_GPU = Hardware(
    accelerator="cuda", device_counts={"cpu": 1, "cuda": 1}, bfloat16_accelerators=frozenset({"cpu"})
)
MAC = Hardware(
    accelerator="mps", device_counts={"cpu": 1, "mps": 1}, bfloat16_accelerators=frozenset({"mps"})
)
OLD_CPU = Hardware(bfloat16_accelerators=frozenset())


@pytest.mark.parametrize(
    ("hardware", "options", "device", "dtype"),
    [
        (CPU, {}, "cpu", "bfloat16"),
        (OLD_CPU, {}, "cpu", "bfloat16"),
        (TWO_GPUS, {}, "cuda:0", "bfloat16"),
        (OLD_GPU, {}, "cuda:0", "float16"),
        (MAC, {}, "mps", "bfloat16"),
        (MAC, {"accelerator": "gpu"}, "mps", "bfloat16"),
        (TWO_GPUS, {"accelerator": "gpu"}, "cuda:0", "bfloat16"),
        (TWO_GPUS, {"accelerator": "cpu"}, "cpu", "bfloat16"),
        (TWO_GPUS, {"devices": 1}, "cuda:0", "bfloat16"),
        (CPU, {"precision": "32-true"}, "cpu", "float32"),
        (CPU, {"precision": "16-true"}, "cpu", "float16"),
    ],
)
def test_a_model_goes_to_the_best_device_in_the_best_precision(
    hardware: Hardware, options: dict[str, Any], device: str, dtype: Any
) -> None:
    assert resolve_placement(DistributeOptions(**options), hardware) == Placement(
        devices=(device,), dtype=dtype
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"accelerator": "tpu"}, InvalidArgument, "Invalid accelerator"),
        ({"accelerator": "cuda"}, UnsupportedOperation, "no cuda device"),
        ({"accelerator": "mps"}, UnsupportedOperation, "no mps device"),
        ({"devices": 0}, InvalidArgument, "devices"),
        ({"devices": "two"}, WrongType, "devices"),
        ({"devices": True}, WrongType, "devices"),
        (
            {"devices": 2},
            InvalidArgument,
            r"Missing generate_strategy: pass 'sequential' or 'tensor_parallel', or devices=1",
        ),
        ({"devices": []}, InvalidArgument, "a list of distinct device indices"),
        ({"devices": [0, 0]}, InvalidArgument, "a list of distinct device indices"),
        ({"devices": [-1]}, InvalidArgument, "a list of distinct device indices"),
        ({"generate_strategy": "parallel"}, InvalidArgument, "'sequential' or 'tensor_parallel'"),
        ({"precision": "bf16"}, InvalidArgument, "bf16-true"),
        ({"precision": "bf16-mixed"}, InvalidArgument, "Trainer"),
        (
            {"quantize": "nf4"},
            InvalidArgument,
            r"None or one of int8, int4, bnb\.nf4, .*, bnb\.int8, not 'nf4'\. Did you mean bnb\.nf4\?",
        ),
        ({"quantize": "bnb.nf4", "precision": "bf16-mixed"}, InvalidArgument, "such as 'bf16-true'"),
        ({"quantize": "bnb.nf4", "precision": "32"}, InvalidArgument, "a '-true' precision"),
        (
            {"engine": "llama.cpp"},
            InvalidArgument,
            "'native', 'torch' or 'transformers'",
        ),
        ({"engine": "native"}, UnsupportedOperation, r"not built .* Install a C\+\+ compiler .*'torch'"),
        ({"kv_cache": "int4"}, InvalidArgument, "kv_cache must be None or 'int8', not 'int4'"),
        ({"fixed_kv_cache_size": 0}, InvalidArgument, "fixed_kv_cache_size"),
        ({"fixed_kv_cache_size": "max"}, WrongType, "max_model_supported"),
    ],
)
def test_invalid_options_are_refused_with_the_valid_ones(
    options: dict[str, Any], error: type[LitGPTError], message: str
) -> None:
    with pytest.raises(error, match=message):
        resolve_placement(DistributeOptions(**options), CPU)


def test_quantization_is_resolved_with_the_placement() -> None:
    assert resolve_placement(DistributeOptions(quantize="int8", precision="32"), CPU).quantize == "int8"
    assert (
        resolve_placement(DistributeOptions(quantize="bnb.nf4", precision="16-true"), TWO_GPUS).quantize
        == "bnb.nf4"
    )
    assert resolve_placement(DistributeOptions(), CPU).quantize is None


def test_bitsandbytes_is_checked_for_support_first() -> None:
    with pytest.raises(NotInstalled, match="pip install bitsandbytes"):
        resolve_placement(DistributeOptions(quantize="bnb.fp4"), attrs.evolve(CPU, has_bitsandbytes=False))
    assert (
        resolve_placement(
            DistributeOptions(quantize="int4"), attrs.evolve(CPU, has_bitsandbytes=False)
        ).quantize
        == "int4"
    )
    apple = Hardware(accelerator="mps", device_counts={"cpu": 1, "mps": 1})
    with pytest.raises(UnsupportedOperation, match="Use 'int8' or 'int4'"):
        resolve_placement(DistributeOptions(quantize="bnb.nf4"), apple)


def test_more_gpus_than_there_are_are_counted_in_the_error() -> None:
    with pytest.raises(UnsupportedOperation, match=r"only 2 cuda device\(s\) were found, not device 2"):
        resolve_placement(DistributeOptions(devices=3, generate_strategy="sequential"), TWO_GPUS)


@pytest.mark.parametrize(
    ("hardware", "options", "devices"),
    [
        (TWO_GPUS, {"devices": "auto"}, ("cuda:0", "cuda:1")),
        (TWO_GPUS, {"devices": 2}, ("cuda:0", "cuda:1")),
        (TWO_GPUS, {"devices": [1]}, ("cuda:1",)),
        (TWO_GPUS, {"devices": [1, 0]}, ("cuda:1", "cuda:0")),
        (TWO_GPUS, {"devices": 1}, ("cuda:0",)),
        (TWO_GPUS, {"devices": 3, "accelerator": "cpu"}, ("cpu:0", "cpu:1", "cpu:2")),
        (CPU, {"devices": "auto"}, ("cpu",)),
        (MAC, {"devices": "auto"}, ("mps",)),
    ],
)
@pytest.mark.parametrize("strategy", ["sequential", "tensor_parallel"])
def test_a_strategy_spreads_over_the_devices_that_are_named_or_over_all(
    hardware: Hardware, options: dict[str, Any], devices: tuple[str, ...], strategy: Any
) -> None:
    placement = resolve_placement(DistributeOptions(generate_strategy=strategy, **options), hardware)
    assert (placement.devices, placement.strategy) == (devices, strategy)


def test_without_a_strategy_one_device_of_several_may_be_named() -> None:
    assert resolve_placement(DistributeOptions(devices=[1]), TWO_GPUS).devices == ("cuda:1",)


@pytest.mark.parametrize(
    ("devices", "machines", "link"),
    [
        (("cuda:0", "cuda:1"), 1, "nccl"),
        (("cuda:0", "cuda:0"), 1, "gloo"),
        (("cuda:0", "cuda:1", "cuda:0", "cuda:1"), 2, "nccl"),  # another machine's
        (("cuda:0", "cuda:1", "cuda:0", "cuda:1"), 1, "gloo"),
        (("cpu:0", "cpu:1"), 1, "gloo"),
    ],
)
def test_ranks_with_separate_gpus_use_nccl(devices: tuple[str, ...], machines: int, link: str) -> None:
    assert Placement(devices=devices, dtype="float16", num_nodes=machines).backend == link


@pytest.mark.parametrize(("options", "size"), [(None, None), (100, 100), ("max_model_supported", "max")])
def test_a_cache_may_be_fixed(options: Any, size: Any) -> None:
    assert resolve_placement(DistributeOptions(fixed_kv_cache_size=options), CPU).kv_cache_size == size


def test_processes_that_torchrun_has_started_are_the_ranks() -> None:
    second = attrs.evolve(TWO_GPUS, rank=1, world_size=2)
    placement = resolve_placement(DistributeOptions(generate_strategy="tensor_parallel"), second)
    assert (placement.devices, placement.local_rank, placement.device) == (("cuda:0", "cuda:1"), 1, "cuda:1")
    one_card = Hardware(accelerator="cuda", device_counts={"cpu": 1, "cuda": 1}, rank=3, world_size=4)
    assert (
        resolve_placement(DistributeOptions(generate_strategy="tensor_parallel"), one_card).devices
        == ("cuda:0",) * 4
    )
    with pytest.raises(InvalidArgument, match="'auto' or 2, the number of processes that torchrun started"):
        resolve_placement(DistributeOptions(generate_strategy="tensor_parallel", devices=3), second)
    three_on_each = attrs.evolve(TWO_GPUS, rank=4, world_size=6, local_world_size=3)
    numbers = (0, 1, 0, 0, 1, 0)
    placement = resolve_placement(DistributeOptions(generate_strategy="tensor_parallel"), three_on_each)
    assert (placement.device, placement.num_nodes) == ("cuda:1", 2)
    assert placement.devices == tuple(f"cuda:{number}" for number in numbers)
    # Without the strategy each of them has a model of its own.
    assert resolve_placement(DistributeOptions(), second).local_rank is None


@pytest.mark.parametrize(
    ("options", "hardware", "message"),
    [
        ({"generate_strategy": "sequential", "devices": 4}, CPU, "No GPU.* 4 devices are all the CPU"),
        ({"generate_strategy": "tensor_parallel", "devices": 4}, CPU, "No GPU.* 4 devices are processes"),
        ({"generate_strategy": "sequential"}, CPU, "No GPU.* runs on the CPU"),
        ({"generate_strategy": "tensor_parallel", "devices": 2, "accelerator": "cpu"}, CPU, None),
        ({"generate_strategy": "sequential", "devices": 2}, TWO_GPUS, None),
        ({}, CPU, None),
        ({"generate_strategy": "tensor_parallel"}, attrs.evolve(CPU, world_size=2), None),
    ],
)
def test_several_devices_without_a_gpu_are_reported(
    options: dict[str, Any], hardware: Hardware, message: str | None
) -> None:
    distribute_options = DistributeOptions(**options)
    reported = no_gpu_warning(distribute_options, resolve_placement(distribute_options, hardware))
    assert reported is None if message is None else re.search(message, reported or "")


NATIVE = Hardware(has_native_engine=True)


@pytest.mark.parametrize(
    ("options", "hardware", "missing_part", "engine"),
    [
        ({}, NATIVE, None, "native"),
        ({"quantize": "int8", "precision": "bf16-true"}, NATIVE, None, "native"),
        ({"engine": "torch"}, NATIVE, None, "torch"),
        ({}, NATIVE, "AltUp", "torch"),
        ({}, Hardware(), None, "torch"),
        ({"quantize": "bnb.nf4"}, NATIVE, None, "torch"),
        ({"devices": 2, "generate_strategy": "sequential"}, NATIVE, None, "torch"),
        ({}, attrs.evolve(TWO_GPUS, has_native_engine=True), None, "torch"),
        ({"accelerator": "cpu"}, attrs.evolve(TWO_GPUS, has_native_engine=True), None, "native"),
    ],
)
def test_the_native_engine_is_the_default_where_it_can_compute_the_model(
    options: dict[str, Any], hardware: Hardware, missing_part: str | None, engine: str
) -> None:
    placement = resolve_placement(DistributeOptions(**options), hardware, missing_part=missing_part)
    assert placement.engine == engine


@pytest.mark.parametrize(
    ("options", "hardware", "missing_part", "notice"),
    [
        ({}, NATIVE, "AltUp", "computed with PyTorch: the native engine does not support AltUp."),
        (
            {},
            Hardware(),
            None,
            "with PyTorch, not with the faster native engine: it was not built when litgpt",
        ),
        ({"quantize": "bnb.nf4"}, NATIVE, None, None),
        ({"accelerator": "cuda"}, TWO_GPUS, "AltUp", None),
        ({"engine": "torch"}, NATIVE, "AltUp", None),
        ({"engine": "native"}, NATIVE, None, None),
    ],
)
def test_a_notice_says_why_pytorch_computes_a_model(
    options: dict[str, Any], hardware: Hardware, missing_part: str | None, notice: str | None
) -> None:
    distribute_options = DistributeOptions(**options)
    placement = resolve_placement(distribute_options, hardware, missing_part=missing_part)
    reported = torch_notice(distribute_options, placement, hardware, missing_part)
    assert reported is None if notice is None else notice in (reported or "")


@pytest.mark.parametrize("engine", [None, "native"])
def test_the_native_engine_caches_keys_and_values_in_8_bits(engine: str | None) -> None:
    assert resolve_placement(DistributeOptions(engine=engine), NATIVE).kv_cache is None
    assert resolve_placement(DistributeOptions(engine=engine, kv_cache="int8"), NATIVE).kv_cache == "int8"


@pytest.mark.parametrize(
    ("options", "missing_part", "reason"),
    [
        ({"engine": "torch"}, None, r"engine has it\. Use engine='native', or use kv_cache=None\."),
        ({}, "AltUp", r"engine has it, and it does not support AltUp .*, or use kv_cache=None\."),
        (
            {"devices": 2, "generate_strategy": "sequential"},
            None,
            "Use devices=1, or use kv_cache=None",
        ),
        ({"accelerator": "cuda"}, None, "Use accelerator='cpu', or use kv_cache=None"),
    ],
)
def test_keys_and_values_in_8_bits_need_the_native_engine(
    options: dict[str, Any], missing_part: str | None, reason: str
) -> None:
    hardware = attrs.evolve(TWO_GPUS, accelerator="cpu", has_native_engine=True)
    with pytest.raises(UnsupportedOperation, match=f"kv_cache='int8' is not possible: only .*{reason}"):
        resolve_placement(DistributeOptions(kv_cache="int8", **options), hardware, missing_part=missing_part)


@pytest.mark.parametrize("devices", ["auto", 1, [0]])
def test_the_native_engine_runs_on_the_cpu_also_beside_gpus(devices: Any) -> None:
    options = DistributeOptions(engine="native", devices=devices)
    for hardware in (NATIVE, attrs.evolve(TWO_GPUS, has_native_engine=True)):
        placement = resolve_placement(options, hardware)
        assert (placement.engine, placement.devices) == ("native", ("cpu",))


@pytest.mark.parametrize(
    ("options", "keeps"), [({}, True), ({"precision": "32-true"}, False), ({"quantize": "int4"}, False)]
)
def test_the_native_engine_keeps_the_quantization_of_the_checkpoint_by_default(
    options: dict[str, Any], *, keeps: bool
) -> None:
    for engine in ("native", None):
        native = resolve_placement(DistributeOptions(engine=engine, **options), NATIVE)
        assert native.keeps_quantization is keeps
    torch = resolve_placement(DistributeOptions(engine="torch", **options), NATIVE)
    assert not torch.keeps_quantization


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"accelerator": "cuda"},
            r"on a CPU and not on cuda. Use accelerator='cpu', or use engine='torch'\.",
        ),
        ({"accelerator": "cpu", "devices": 2, "generate_strategy": "tensor_parallel"}, "Use devices=1, or"),
        ({"quantize": "bnb.nf4"}, "does not support quantize='bnb.nf4'. Use quantize='int8' or 'int4'"),
    ],
)
def test_the_native_engine_names_the_options_that_it_does_not_support(
    options: dict[str, Any], reason: str
) -> None:
    hardware = attrs.evolve(TWO_GPUS, has_native_engine=True)
    with pytest.raises(UnsupportedOperation, match=f"engine='native' is not possible: .*{reason}"):
        resolve_placement(DistributeOptions(engine="native", **options), hardware)
