from typing import Any

import attrs
import pytest

from litgpt.domain import offloading
from litgpt.domain.architecture import Architecture
from litgpt.domain.families import describe
from litgpt.domain.footprint import footprint, weight_bytes
from litgpt.domain.offloading import fitted, told
from litgpt.domain.placement import Hardware, Placement
from tests.contracts.distribution_strategy import CONFIG

DEEP = describe("tiny", CONFIG | {"num_hidden_layers": 8, "hidden_size": 256, "intermediate_size": 1024})
GPU = Placement(devices=("cuda:0",), dtype="bfloat16")
NEEDED = footprint(DEEP, dtype="bfloat16", tokens=64).total


def gpu(free: int) -> Hardware:
    return Hardware(accelerator="cuda", counts={"cpu": 1, "cuda": 1}, free={"cuda:0": free})


def test_a_model_that_fits_is_left_where_it_is() -> None:
    assert fitted(GPU, DEEP, gpu(NEEDED)) == GPU
    assert told(GPU, DEEP) is None


def test_layers_that_do_not_fit_stay_with_the_cpu_as_many_as_must() -> None:
    placement = fitted(GPU, DEEP, gpu(NEEDED - 1))
    assert placement.resident == 7
    layer = NEEDED - footprint(attrs.evolve(DEEP, layers=DEEP.layers[:7]), dtype="bfloat16", tokens=64).total
    assert fitted(GPU, DEEP, gpu(NEEDED - 3 * layer)).resident == 5
    assert fitted(GPU, DEEP, gpu(1)).resident == 0
    said = told(placement, DEEP)
    assert said is not None
    assert "1 of 8 layers do not fit on cuda:0" in said


def test_a_fixed_cache_takes_room_too() -> None:
    fixed = attrs.evolve(GPU, cache_size=64 * 1000)
    resident = fitted(fixed, DEEP, gpu(NEEDED)).resident
    assert resident is not None
    assert resident < 8


def test_a_cpu_and_several_devices_are_left_alone() -> None:
    cpu = Placement(devices=("cpu",), dtype="bfloat16")
    assert fitted(cpu, DEEP, gpu(1)) == cpu
    spread = attrs.evolve(GPU, strategy="sequential")
    assert fitted(spread, DEEP, gpu(1)) == spread


def test_what_is_needed_is_counted_a_few_times_and_not_for_every_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deep = attrs.evolve(DEEP, layers=DEEP.layers * 32)
    counted = []

    def count(part: Architecture, **how: Any) -> int:
        counted.append(len(part.layers))
        return weight_bytes(part, **how)

    monkeypatch.setattr(offloading, "weight_bytes", count)
    assert fitted(GPU, deep, gpu(1)).resident == 0
    assert len(counted) <= 10
