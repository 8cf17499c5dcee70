"""Tests of the native engine against the torch network in contexts of several spans of attention (512)."""

from typing import Any

import attrs
import numpy as np
import pytest
import torch

from litgpt.adapters.native.structures import Format
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.model import AttentionSpec
from tests.agreement.models import VARIANTS, pair, random_ids
from tests.agreement.test_native_engine import assert_close, native

LENGTH = 1300
CASES = {
    "grouped queries": ("llama", None),
    "one key-value head": ("llama, one key-value head", None),
    "a window within a page": ("mistral", 8),
    "a window of two spans": ("mistral", 700),
    "caps, and windows in some layers": ("gemma2", 300),
    "chunks": ("llama4", 600),
    "sinks": ("gpt_oss", 530),
    "ALiBi": ("bloom", None),
    "rounded ALiBi": ("falcon, scores that fall", None),
    "latent attention": ("deepseek_v3", None),
}


def widened(model: GPT, window: int | None) -> None:
    """Give a model a context of `LENGTH`, and its windows and chunks another size."""
    architecture = model.architecture
    layers = tuple(
        attrs.evolve(layer, mixer=attrs.evolve(layer.mixer, sliding_window=window))
        if isinstance(layer.mixer, AttentionSpec) and layer.mixer.sliding_window
        else layer
        for layer in architecture.layers
    )
    assert window is None or layers != architecture.layers or window == 8
    model.architecture = attrs.evolve(architecture, context_length=LENGTH, layers=layers)


@pytest.fixture(scope="module", params=CASES)
def model(request: Any, tmp_path_factory: pytest.TempPathFactory) -> GPT:
    name, window = CASES[request.param]
    variant = next(variant for variant in VARIANTS if variant.name == name)
    model = pair(variant, tmp_path_factory.mktemp("long")).actual
    widened(model, window)
    return model


@torch.inference_mode()
def test_logits_in_long_contexts_agree(model: GPT) -> None:
    engine, ids = native(model), random_ids(1, LENGTH)
    expected, tokens = model(ids)[0].numpy(), ids[0].tolist()
    whole = engine.new_sequence(LENGTH)
    assert_close(engine.step([(whole, tokens)])[0], expected[-1])
    pieces, start = engine.new_sequence(LENGTH), 0
    for size in (510, 1, 1, 1, 1, 4, 5, 499, 1, 1, 1, 1, 200, 73, 1):
        logits = engine.step([(pieces, tokens[start : start + size])])[0]
        start += size
        assert_close(logits, expected[start - 1])
    assert start == LENGTH


@torch.inference_mode()
def test_logits_with_keys_and_values_in_8_bits(model: GPT) -> None:
    """They are near the exact ones, and have the same bits in one pass, in pieces and after a fork."""
    engine, tokens = native(model, Format.Q8), random_ids(1, LENGTH)[0].tolist()
    exact = native(model)
    expected = exact.step([(exact.new_sequence(LENGTH), tokens)])[0]
    logits = engine.step([(engine.new_sequence(LENGTH), tokens)])[0]
    difference = np.abs(logits - expected).max() / np.abs(expected).max()
    assert 0 < difference <= 0.01
    pieces, forked_at = engine.new_sequence(LENGTH), 1160
    engine.step([(pieces, tokens[:510])])
    for start in range(510, forked_at, 130):
        engine.step([(pieces, tokens[start : start + 130])])
    fork = pieces.fork()
    engine.step([(fork, [1] * (LENGTH - forked_at))])
    assert np.array_equal(engine.step([(pieces, tokens[forked_at:])])[0], logits)
    if all(cache.window == 0 for cache in engine.program.caches):
        fork.truncate(forked_at - 70)
        assert np.array_equal(engine.step([(fork, tokens[forked_at - 70 :])])[0], logits)


@pytest.mark.parametrize("cache_format", [Format.F32, Format.Q8])
@torch.inference_mode()
def test_long_and_short_sequences_of_a_batch_have_the_bits_of_each_alone(
    model: GPT, cache_format: Format
) -> None:
    engine, lengths = native(model, cache_format), (LENGTH - 5, 3, 512, 513)
    prompts = [random_ids(1, length)[0].tolist() for length in lengths]
    alone = []
    for prompt in prompts:
        sequence = engine.new_sequence(LENGTH)
        engine.step([(sequence, prompt)])
        alone.append([engine.step([(sequence, [token])])[0] for token in (5, 6)])
    sequences = [engine.new_sequence(LENGTH) for _ in prompts]
    engine.step(list(zip(sequences, prompts, strict=True)))
    for number, token in enumerate((5, 6)):
        together = engine.step([(sequence, [token]) for sequence in sequences])
        for single, logits in zip(alone, together, strict=True):
            assert np.array_equal(single[number], logits)
