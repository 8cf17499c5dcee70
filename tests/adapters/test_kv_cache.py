"""Tests of the size of the KV cache."""

import torch

from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.adapters.pytorch.model.layer_cache import LayerCache
from tests.contracts.distribution_strategy import windowed

CPU = torch.device("cpu")
WINDOW = 8


def cache(limit: int = 1000, *, fixed: bool = False) -> KVCache:
    return KVCache.empty(windowed(WINDOW), max_length=limit, device=CPU, dtype=torch.bfloat16, fixed=fixed)


def layer(cache: KVCache, number: int) -> LayerCache:
    actual = cache.layers[number]
    assert isinstance(actual, LayerCache)
    return actual


def fill(cache: KVCache, tokens: int) -> None:
    cache.reserve(tokens)
    cache.length += tokens


def test_an_empty_cache_takes_no_memory() -> None:
    assert cache().nbytes == 0


def test_the_cache_has_the_models_dtype_and_grows_on_demand() -> None:
    kv_cache = cache()
    fill(kv_cache, 100)
    everything = layer(kv_cache, 1)
    assert everything.keys.dtype == torch.bfloat16
    assert 100 <= everything.capacity <= 150


def test_it_never_grows_beyond_its_limit() -> None:
    kv_cache = cache(limit=101)
    fill(kv_cache, 100)
    fill(kv_cache, 1)
    assert layer(kv_cache, 1).capacity == 101


def test_a_windowed_layer_keeps_little_more_than_its_window() -> None:
    kv_cache = cache()
    for _ in range(200):
        fill(kv_cache, 1)
    assert layer(kv_cache, 0).capacity <= 2 * WINDOW
    assert layer(kv_cache, 1).capacity >= 200


def test_a_long_prompt_does_not_leave_a_windowed_layer_large() -> None:
    kv_cache = cache()
    fill(kv_cache, 500)
    for _ in range(600):
        fill(kv_cache, 1)
    assert layer(kv_cache, 0).capacity <= 2 * WINDOW


def test_a_fixed_cache_has_all_its_memory_from_the_start() -> None:
    kv_cache = cache(limit=300, fixed=True)
    before = kv_cache.nbytes
    for _ in range(60):
        fill(kv_cache, 5)
    assert kv_cache.nbytes == before
    assert layer(kv_cache, 1).capacity == 300


def test_attention_masks_are_not_stored() -> None:
    kv_cache = cache(limit=4096, fixed=True)
    per_token = 2 * 2 * 4 * 2  # keys and values, groups, head size, bytes
    assert kv_cache.nbytes == (4096 + 2 * WINDOW) * per_token


def test_truncating_beyond_the_window_is_refused() -> None:
    kv_cache = cache()
    fill(kv_cache, 100)
    for _ in range(40):
        fill(kv_cache, 1)
    assert not kv_cache.truncate(50)
    assert kv_cache.length == 140
    assert kv_cache.truncate(139)
    assert kv_cache.length == 139


def test_a_copy_shares_nothing() -> None:
    kv_cache = cache()
    fill(kv_cache, 10)
    copied = kv_cache.copy()
    layer(copied, 1).keys.fill_(7)
    assert not (layer(kv_cache, 1).keys == 7).any()
