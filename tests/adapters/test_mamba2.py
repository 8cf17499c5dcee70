"""Tests of Mamba-2: the chunked form equals the recurrent one; padding leaves the state unchanged."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor

from litgpt.adapters.pytorch.model.linear_attention.mamba2 import chunk_state_space, recurrent_state_space
from litgpt.domain.errors import CorruptFile
from litgpt.domain.families import parse_config
from litgpt.domain.memory.estimate import kv_cache_bytes
from litgpt.domain.model import Mamba2Spec
from tests.adapters.tiny_models import FAMILIES, SIZES
from tests.agreement.models import Variant, pair, random_ids

CONFIG = {"model_type": "granitemoehybrid", **SIZES, **FAMILIES["granitemoehybrid"]}


def inputs(tokens: int) -> tuple[Tensor, ...]:
    """Return updates, decay, B, C and a state, of two rows and two groups of three heads."""
    random = torch.Generator().manual_seed(3)
    update = torch.randn(2, tokens, 2, 3, 8, generator=random)
    decay = -(torch.rand(2, tokens, 2, 3, generator=random) ** 3) * 8  # some forget at once, most do not
    b, c = (torch.randn(2, tokens, 2, 12, generator=random) for _ in "bc")
    return update, decay, b, c, torch.randn(2, 2, 12, 24, generator=random)


@pytest.mark.parametrize("tokens", [1, 8, 63, 64, 65, 200])
def test_the_chunked_form_equals_the_recurrent_form(tokens: int) -> None:
    update, decay, b, c, state = inputs(tokens)
    together, after = chunk_state_space(update, decay, b, c, state)
    apart, expected = recurrent_state_space(update, decay, b, c, state)
    assert torch.allclose(together, apart, rtol=1e-4, atol=1e-3)
    assert torch.allclose(after, expected, rtol=1e-4, atol=1e-3)


def test_a_fast_decay_gives_finite_gradients() -> None:
    update, decay, b, c, state = inputs(100)
    decay = (decay * 100).requires_grad_()
    output, _ = chunk_state_space(update, decay, b, c, state)
    (gradient,) = torch.autograd.grad(output.square().sum(), decay)
    assert gradient.isfinite().all()


def test_the_state_counts_once_for_a_sequence_and_the_keys_for_each_token() -> None:
    architecture = parse_config("x", CONFIG)
    mixer = architecture.layers[0].mixer
    assert isinstance(mixer, Mamba2Spec)
    assert mixer.split_sizes == (96, 96, 32, 32, 4)
    keys = 2 * 2 * 12
    state, conv = 2 * 16 * 48, 160 * 3
    for tokens in (10, 100):
        expected = 2 * (state * 4 + conv * 2) + tokens * keys * 2
        assert kv_cache_bytes(architecture, dtype="bfloat16", tokens=tokens) == expected


@pytest.mark.parametrize(
    ("setting", "value"),
    [("time_step_limit", [0.1]), ("time_step_limit", [-1, 1]), ("time_step_limit", 3), ("mamba_n_groups", 3)],
)
def test_a_damaged_setting_is_refused_by_its_name(setting: str, value: object) -> None:
    with pytest.raises(CorruptFile, match=setting):
        parse_config("x", {**CONFIG, setting: value})


def test_time_steps_have_a_range() -> None:
    for value, expected in (([0.1, {"__float__": "Infinity"}], (0.1, float("inf"))), ([0, 2], (0.0, 2.0))):
        mixer = parse_config("x", {**CONFIG, "time_step_limit": value}).layers[0].mixer
        assert isinstance(mixer, Mamba2Spec)
        assert mixer == attrs.evolve(mixer, time_step_limit=expected)


@pytest.mark.parametrize(
    ("family", "settings"),
    [("mamba2", {"time_step_limit": (0.5, 0.8)}), ("nemotron_h", {"time_step_min": 0.8})],
)
@torch.inference_mode()
def test_time_steps_are_clamped(family: str, settings: dict[str, Any], tmp_path: Path) -> None:
    # transformers clamps those of a prompt, but not those of single tokens.
    both, ids = pair(Variant(family, family, settings), tmp_path), random_ids(1, 40)
    expected = both.expected(ids)
    assert (both.actual(ids) - expected).abs().max() <= 1e-4 * expected.abs().max()
    other = pair(Variant(family, family), tmp_path / "other").actual(ids)
    assert (other - expected).abs().max() > 1e-3 * expected.abs().max()
