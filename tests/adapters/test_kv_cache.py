"""Tests of the size of the KV cache."""

import torch

from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.cache.layer_cache import LayerCache
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


def row_of(tokens: int) -> KVCache:
    """Return the cache of a row that ends 20 tokens later."""
    row = cache(tokens + 20)
    fill(row, tokens)
    return row


def test_slots_that_no_row_uses_any_more_take_no_memory() -> None:
    kv_cache = row_of(30)
    kv_cache.join(row_of(5), [0], [1])
    for step in range(1000):
        fill(kv_cache, 1)
        if step % 10 == 9:
            kv_cache.join(row_of(5), [0], [step // 10 % 2])
    assert kv_cache.length == 1030
    assert [kv_cache.length - start for start in kv_cache.row_offsets] == [15, 5]
    assert layer(kv_cache, 0).capacity <= 2 * WINDOW
    assert layer(kv_cache, 1).capacity <= 64


def test_a_row_that_is_longer_than_all_others_joins_them() -> None:
    kv_cache, longer = row_of(3), row_of(50)
    layer(longer, 1).keys[:, :, :50] = torch.arange(50)[:, None]
    layer(kv_cache, 1).keys.fill_(7)
    kv_cache.join(longer, [0], [1])
    assert kv_cache.row_offsets == [0, -47]
    keys, first = layer(kv_cache, 1).keys, layer(kv_cache, 1).oldest_slot
    assert keys[1, 0, -47 - first : 3 - first, 0].tolist() == list(range(50))
    assert keys[0, 0, -first : 3 - first, 0].tolist() == [7] * 3
    assert keys[0, 0, :-first].count_nonzero() == 0


def test_joining_a_free_row_copies_no_other_row() -> None:
    kv_cache = row_of(60)
    kv_cache.join(row_of(5), [0], [1])
    before = layer(kv_cache, 1).keys
    kv_cache.join(row_of(20), [0], [0])
    assert layer(kv_cache, 1).keys is before


def test_the_last_rows_take_the_places_of_others_without_a_copy_of_the_rest() -> None:
    kv_cache = row_of(10)
    for row in range(1, 8):
        kv_cache.join(row_of(10), [0], [row])
    every = layer(kv_cache, 1)
    every.keys[:] = torch.arange(len(every.keys))[:, None, None, None]
    before = every.keys
    kv_cache.keep_rows([0, 7, 2, 3, 4, 5, 6])
    assert every.keys is before
    assert every.keys[:7, 0, 0, 0].tolist() == [0, 7, 2, 3, 4, 5, 6]
    kv_cache.keep_rows([1, 3])
    assert every.keys[:, 0, 0, 0].tolist() == [7, 3]
