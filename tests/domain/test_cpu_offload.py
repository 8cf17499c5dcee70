from typing import Any

import attrs
import pytest

from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.families import parse_config
from litgpt.domain.memory import cpu_offload
from litgpt.domain.memory.cpu_offload import offload_notice, with_cpu_offload
from litgpt.domain.memory.estimate import estimate_memory, weight_bytes
from litgpt.domain.model import Architecture
from tests.contracts.distribution_strategy import CONFIG

DEEP = parse_config("tiny", CONFIG | {"num_hidden_layers": 8, "hidden_size": 256, "intermediate_size": 1024})
GPU = Placement(devices=("cuda:0",), dtype="bfloat16")
NEEDED = estimate_memory(DEEP, dtype="bfloat16", tokens=64).total


def gpu(free: int) -> Hardware:
    return Hardware(
        accelerator="cuda", device_counts={"cpu": 1, "cuda": 1}, free_device_memory={"cuda:0": free}
    )


def test_a_model_that_fits_is_left_where_it_is() -> None:
    assert with_cpu_offload(GPU, DEEP, gpu(NEEDED)) == GPU
    assert offload_notice(GPU, DEEP) is None


def test_only_layers_that_do_not_fit_are_offloaded_to_the_cpu() -> None:
    placement = with_cpu_offload(GPU, DEEP, gpu(NEEDED - 1))
    assert placement.num_gpu_layers == 7
    layer = (
        NEEDED
        - estimate_memory(attrs.evolve(DEEP, layers=DEEP.layers[:7]), dtype="bfloat16", tokens=64).total
    )
    assert with_cpu_offload(GPU, DEEP, gpu(NEEDED - 3 * layer)).num_gpu_layers == 5
    assert with_cpu_offload(GPU, DEEP, gpu(1)).num_gpu_layers == 0
    notice = offload_notice(placement, DEEP)
    assert notice is not None
    assert "1 of 8 layers do not fit on cuda:0" in notice


def test_a_fixed_cache_takes_room_too() -> None:
    fixed = attrs.evolve(GPU, kv_cache_size=64 * 1000)
    resident = with_cpu_offload(fixed, DEEP, gpu(NEEDED)).num_gpu_layers
    assert resident is not None
    assert resident < 8


def test_a_cpu_and_several_devices_are_left_alone() -> None:
    cpu = Placement(devices=("cpu",), dtype="bfloat16")
    assert with_cpu_offload(cpu, DEEP, gpu(1)) == cpu
    spread = attrs.evolve(GPU, strategy="sequential")
    assert with_cpu_offload(spread, DEEP, gpu(1)) == spread


def test_memory_is_computed_a_few_times_and_not_per_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = attrs.evolve(DEEP, layers=DEEP.layers * 32)
    counted = []

    def count(part: Architecture, **options: Any) -> int:
        counted.append(len(part.layers))
        return weight_bytes(part, **options)

    monkeypatch.setattr(cpu_offload, "weight_bytes", count)
    assert with_cpu_offload(GPU, deep, gpu(1)).num_gpu_layers == 0
    assert len(counted) <= 10
