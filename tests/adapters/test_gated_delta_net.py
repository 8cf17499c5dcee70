"""Tests of the gated delta rule: the chunked form equals the recurrent one; its state is cached."""

import attrs
import pytest
import torch
from torch import Tensor

from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.cache.recurrent_state import RecurrentState
from litgpt.adapters.pytorch.model.linear_attention.gated_delta_net import gated_delta_rule
from litgpt.domain.families import parse_config
from litgpt.domain.memory.estimate import kv_cache_bytes
from litgpt.domain.model import GatedDeltaSpec, NormSpec
from tests.adapters.tiny_models import FAMILIES, SIZES

CONFIG = {"model_type": "qwen3_next", **SIZES, **FAMILIES["qwen3_next"]}
ROWS = 3


def inputs(tokens: int) -> tuple[Tensor, ...]:
    """Return queries, keys, values, decay, beta and a state, of two rows and three heads."""
    random = torch.Generator().manual_seed(3)
    queries, keys = (
        torch.nn.functional.normalize(torch.randn(2, 3, tokens, 8, generator=random), dim=-1) for _ in "qk"
    )
    values = torch.randn(2, 3, tokens, 12, generator=random)
    fade = -(torch.rand(2, 3, tokens, generator=random) ** 3) * 8  # some forget at once, most do not
    strength = torch.rand(2, 3, tokens, generator=random)
    return queries, keys, values, fade, strength, torch.randn(2, 3, 8, 12, generator=random)


@pytest.mark.parametrize("tokens", [8, 63, 64, 65, 200])
def test_the_chunked_form_equals_the_recurrent_form(tokens: int) -> None:
    queries, keys, values, fade, strength, state = inputs(tokens)
    together, after = gated_delta_rule(queries, keys, values, fade, strength, state)
    apart = []
    for at in range(tokens):
        now = [value[:, :, at : at + 1] for value in (queries, keys, values, fade, strength)]
        read, state = gated_delta_rule(now[0], now[1], now[2], now[3], now[4], state)
        apart.append(read)
    assert torch.allclose(together, torch.cat(apart, 2), atol=1e-5)
    assert torch.allclose(after, state, atol=1e-5)


def test_without_fading_a_key_brings_back_the_value_that_was_written_last_for_it() -> None:
    keys = torch.eye(4)[[0, 1, 0, 2]][None, None]
    values = torch.arange(8.0).view(1, 1, 4, 2)
    nothing, fully = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    _, state = gated_delta_rule(keys, keys, values, nothing, fully, torch.zeros(()))
    expected = (values[0, 0, 2], values[0, 0, 1], values[0, 0, 3], torch.zeros(2))
    assert torch.equal(state[0, 0], torch.stack(expected))


def cache() -> KVCache:
    architecture = parse_config("x", CONFIG)
    cache = KVCache.empty(
        architecture, max_length=32, device=torch.device("cpu"), dtype=torch.bfloat16, row_offsets=(0,) * ROWS
    )
    cache.reserve(4)
    cache.length = 4
    return cache


def state_of(cache: KVCache) -> RecurrentState:
    layer = cache.layers[0]
    assert isinstance(layer, RecurrentState)
    return layer


def test_a_recurrent_state_cannot_be_truncated() -> None:
    kv_cache = cache()
    assert not kv_cache.truncate(3)
    assert kv_cache.length == 4
    assert kv_cache.truncate(4)


def test_rows_are_kept_in_the_requested_order_and_copies_are_independent() -> None:
    kv_cache = cache()
    state_of(kv_cache).recurrent_state[:] = torch.arange(float(ROWS))[:, None, None, None]
    kv_cache.keep_rows([2, 0])
    copied = kv_cache.copy()
    state_of(copied).recurrent_state.fill_(9)
    assert state_of(kv_cache).recurrent_state[:, 0, 0, 0].tolist() == [2, 0]
    assert len(state_of(kv_cache).conv_state) == 2


def test_recurrent_state_is_counted_once_for_any_context_length() -> None:
    architecture = parse_config("x", CONFIG)
    linear = [layer for layer in architecture.layers if isinstance(layer.mixer, GatedDeltaSpec)]
    alone = attrs.evolve(architecture, layers=tuple(linear))
    row_bytes = kv_cache_bytes(alone, dtype="bfloat16", tokens=1)
    assert row_bytes == kv_cache_bytes(alone, dtype="bfloat16", tokens=1000)
    kv_cache = cache()
    assert row_bytes * ROWS == sum(
        layer.nbytes for layer in kv_cache.layers if isinstance(layer, RecurrentState)
    )


def test_split_sizes_and_state_follow_from_the_spec() -> None:
    mixer = GatedDeltaSpec(
        num_heads=4,
        num_kv_heads=2,
        k_head_dim=8,
        v_head_dim=12,
        conv_kernel_size=4,
        activation="silu",
        norm=NormSpec(eps=1e-6),
    )
    assert mixer.split_sizes == (16, 16, 48, 48)
    assert (
        mixer.cache_spec.numel_per_token,
        mixer.cache_spec.recurrent_state,
        mixer.cache_spec.conv_state,
    ) == (0, 4 * 8 * 12, 80 * 3)
