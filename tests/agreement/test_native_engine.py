"""Tests of the native engine against the torch network, for all families."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from litgpt.adapters.native.library import check
from litgpt.adapters.native.matrix import PackedMatrix
from litgpt.adapters.native.model import NativeModel, NativeSequence, _floats, _ints
from litgpt.adapters.native.program.compiler import compile_program
from litgpt.adapters.native.program.coverage import unsupported_part
from litgpt.adapters.native.structures import Format, SourceFormat
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.families import parse_config
from tests.adapters.tiny_models import FAMILIES, SIZES
from tests.agreement.models import TORCH_ONLY, VARIANTS, WINDOW, Variant, pair, random_ids

# Longer than a page of the cache and than any window, so that pages are freed as well.
LENGTH = 90


def native(model: GPT, cache_format: Format = Format.F32) -> NativeModel:
    """Return a float32 model with the weights of a torch model."""
    architecture = model.architecture
    program = compile_program(architecture, rounded=float)
    state = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    matrices, vectors = {}, {}
    for tensor in program.tensors:
        if tensor.kind == "matrix":
            rows, cols = state[tensor.name].shape
            matrices[tensor.name] = PackedMatrix.zeros(Format.F32, rows, cols)
            matrices[tensor.name].pack(SourceFormat.F32, state[tensor.name])
        elif tensor.kind == "vector":
            vectors[tensor.name] = state[tensor.name]
    return NativeModel(architecture, program, matrices, vectors, cache_format=cache_format)


NATIVE = [variant for variant in VARIANTS if variant.family not in TORCH_ONLY]


@pytest.fixture(scope="module", params=NATIVE, ids=lambda variant: variant.name)
def both(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[GPT, NativeModel]:
    variant: Variant = request.param
    model = pair(variant, tmp_path_factory.mktemp("native")).actual
    return model, native(model)


@pytest.mark.parametrize("family", sorted(TORCH_ONLY))
def test_a_layer_that_the_engine_does_not_have_is_named(family: str) -> None:
    part = unsupported_part(parse_config("it", {"model_type": family, **SIZES, **FAMILIES[family]}))
    assert part is not None
    assert re.search(r"of type \w+Spec$", part)


def test_hidden_states_of_the_wrong_size_are_refused_by_the_library(both: tuple[GPT, NativeModel]) -> None:
    engine = both[1]
    sequence, rows = engine.new_sequence(), np.zeros(1, dtype=np.int32)
    hidden = np.zeros(engine.architecture.hidden_size, dtype=np.float32)
    for num_rows, count in ((1, hidden.size - 1), (1, hidden.size + 1), (2, hidden.size), (-1, -hidden.size)):
        arguments, _ = engine._arguments([(sequence, [5])], rows, None)
        step = engine._library.litgpt_step_hidden
        status = step(*arguments, num_rows, _ints(rows), _floats(hidden), count)
        with pytest.raises(UnsupportedOperation, match="wrong size"):
            check(status, "Embedding")
    with pytest.raises(UnsupportedOperation, match="not a token of the step"):
        engine.hidden_states([(sequence, [5, 6])], [2])
    with pytest.raises(UnsupportedOperation, match="more rows of output"):
        engine.hidden_states([(sequence, [5, 6])], [0, 1, 1])
    with pytest.raises(UnsupportedOperation, match="outside the vocabulary"):
        engine.hidden_states([(sequence, [5, -1])], [0])
    assert sequence.length == 0
    assert engine.hidden_states([(sequence, [5, 6])], []).shape == (0, engine.architecture.hidden_size)
    assert sequence.length == 2


def assert_close(actual: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    """Compare to 1e-4 of the largest logit."""
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()


@torch.inference_mode()
def test_logits_of_one_pass_of_pieces_and_of_single_tokens_agree(both: tuple[GPT, NativeModel]) -> None:
    model, engine = both
    ids = random_ids(1, LENGTH)
    expected = model(ids)[0].numpy()
    tokens = ids[0].tolist()
    whole = engine.new_sequence(LENGTH)
    assert_close(engine.step([(whole, tokens)])[0], expected[-1])
    pieces = engine.new_sequence(LENGTH)
    start = 0
    for size in (WINDOW + 3, 1, 1, 40, 1, LENGTH - WINDOW - 46):
        logits = engine.step([(pieces, tokens[start : start + size])])[0]
        start += size
        assert_close(logits, expected[start - 1])
    assert start == pieces.length == LENGTH


@torch.inference_mode()
def test_a_batch_of_unequal_sequences_gives_the_bits_of_each_alone(both: tuple[GPT, NativeModel]) -> None:
    _, engine = both
    prompts = [random_ids(1, length)[0].tolist() for length in (LENGTH, 3, 37, 1)]
    sequences = [engine.new_sequence(len(prompt)) for prompt in prompts]
    together = engine.step(list(zip(sequences, prompts, strict=True)))
    following = engine.step([(sequence, [5]) for sequence in sequences])
    for prompt, first, second in zip(prompts, together, following, strict=True):
        alone = engine.new_sequence(len(prompt))
        assert np.array_equal(engine.step([(alone, prompt)])[0], first)
        assert np.array_equal(engine.step([(alone, [5])])[0], second)


@torch.inference_mode()
def test_forked_and_shortened_sequences_continue_independently(both: tuple[GPT, NativeModel]) -> None:
    model, engine = both
    if any(layer.mixer.sliding_window for layer in model.architecture.layers):
        return
    tokens = random_ids(1, 50)[0].tolist()
    sequence = engine.new_sequence(60)
    engine.step([(sequence, tokens)])
    fork, second = sequence.fork(), sequence.fork()
    changed = engine.step([(fork, [1, 2, 3])])[0]
    unchanged = engine.step([(sequence, [4, 5, 6])])[0]
    assert np.array_equal(engine.step([(second, [1, 2, 3])])[0], changed)
    for length, appended, expected in ((50, [4, 5, 6], unchanged), (20, [1, 2, 3], changed)):
        start = shortened(fork, length, model)
        engine.step([(fork, tokens[start:])] if start < 50 else [(sequence, [7])])
        assert np.array_equal(engine.step([(fork, appended)])[0], expected)


def shortened(sequence: NativeSequence, length: int, model: GPT) -> int:
    """Truncate a sequence, to no tokens if it has a recurrent state, and return its new length."""
    if any(layer.mixer.cache_spec.recurrent_state for layer in model.architecture.layers):
        sequence.truncate(sequence.length)
        with pytest.raises(UnsupportedOperation, match=f"to {length} tokens: .*recurrent state"):
            sequence.truncate(length)
        length = 0
    sequence.truncate(length)
    return length
