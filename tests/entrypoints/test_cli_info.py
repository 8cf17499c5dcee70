"""Tests of the model and memory report of `litgpt info`."""

import json
from pathlib import Path

import pytest

from litgpt.cli.info import advice
from litgpt.domain.families import parse_config
from litgpt.domain.formatting.units import format_bytes
from litgpt.domain.memory.estimate import DeviceMemory, check_fit, estimate_memory
from tests.adapters.tiny_models import save_many_experts, tiny_folder
from tests.contracts.distribution_strategy import CONFIG
from tests.entrypoints.test_cli import run_cli

TINY = parse_config("tiny", CONFIG)
NEEDS = {
    tokens: estimate_memory(TINY, dtype="float32", tokens=tokens) for tokens in (1, 10, TINY.context_length)
}
ONE, TEN, ALL = (value.total for value in NEEDS.values())


@pytest.mark.parametrize(
    ("total", "free", "message"),
    [
        (ALL, ALL, "fits with the full context"),
        (ALL, TEN, "fits with up to 10 tokens, or the full context if other programs free "),
        (ALL, ONE - 1, "does not fit now, but fits if other programs free "),
        (
            ALL - 1,
            TEN,
            f"fits with up to 10 of {TINY.context_length} tokens; limit them with --max-new-tokens",
        ),
        (TEN, ONE - 1, "does not fit now; without other programs, it fits with up to 10 tokens"),
        (ONE - 1, ONE - 1, "does not fit: the weights alone take "),
    ],
)
def test_the_memory_verdict_has_the_remedy(total: int, free: int, message: str) -> None:
    verdict = check_fit(TINY, DeviceMemory(device="memory", total=total, free=free), dtype="float32")
    assert advice(verdict, NEEDS).startswith(message)


def test_a_model_that_is_too_large_may_fit_in_fewer_bits() -> None:
    none = DeviceMemory(device="memory", total=1, free=1)
    assert "; try int4" in advice(check_fit(TINY, none, dtype="bfloat16"), NEEDS)
    assert "try" not in advice(check_fit(TINY, none, dtype="bfloat16", quantize="int4"), NEEDS)


def test_quantized_weights_fit_into_memory_of_their_size() -> None:
    small = estimate_memory(TINY, dtype="bfloat16", tokens=TINY.context_length, quantize="int8").total
    memory = DeviceMemory(device="memory", total=small, free=small)
    assert check_fit(TINY, memory, dtype="bfloat16", quantize="int8").max_tokens_free == TINY.context_length
    assert check_fit(TINY, memory, dtype="bfloat16").max_tokens_free < TINY.context_length


@pytest.mark.parametrize(
    ("nbytes", "message"),
    [
        (0, "0.0 kB"),
        (999_949, "999.9 kB"),
        (1_000_000, "1.0 MB"),
        (96_576_768, "96.6 MB"),
        (1_341_000_000, "1.3 GB"),
    ],
)
def test_sizes_are_decimal(nbytes: int, message: str) -> None:
    assert format_bytes(nbytes) == message


def test_the_engine_is_named_with_the_part_that_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    save_many_experts(tmp_path)
    engines = {
        tiny_folder("llama"): "native",
        tiny_folder("qwen3_next"): "native",
        tmp_path: "torch. The model is computed with PyTorch: the native engine does not support more than",
    }
    for folder, engine in engines.items():
        arithmetic = json.loads(run_cli(capsys, "info", str(folder), "--json")[1])["arithmetic"]
        assert arithmetic["engine"].startswith(engine)
        assert arithmetic["int8"].endswith("native engine") is (engine == "native")
