"""Tests of every family against transformers: one pass, token by token, batched, beyond the window."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.ops.tensor_views import to_hf_tensor
from litgpt.domain.families import family_of
from litgpt.domain.weights.mapping import invert_mapping
from tests.agreement.models import VARIANTS, WINDOW, Pair, pair, random_ids

# Longer than any window here, so that eviction is tested as well.
LENGTH = 5 * WINDOW


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: variant.name)
def both(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(request.param, tmp_path_factory.mktemp("agreement"))


def assert_close(actual: Tensor, reference: Tensor) -> None:
    """Compare to 1e-4 of the largest logit."""
    assert actual.shape == reference.shape
    assert (actual - reference).abs().max() <= 1e-4 * reference.abs().max()


@torch.inference_mode()
def test_a_full_forward_pass_gives_transformers_logits(both: Pair) -> None:
    ids = random_ids(2, LENGTH)
    assert_close(both.actual(ids), both.expected(ids))


@torch.inference_mode()
@pytest.mark.parametrize("chunks", [(1,) * LENGTH, (13, 1, 1, 7, 1, 17), (WINDOW, LENGTH - WINDOW)], ids=str)
def test_a_cache_filled_in_any_pieces_gives_the_same(both: Pair, chunks: tuple[int, ...]) -> None:
    ids, cache = random_ids(1, LENGTH), both.cache(LENGTH)
    assert sum(chunks) == LENGTH
    pieces = [both.actual(part, cache) for part in ids.split(chunks, 1)]
    assert_close(torch.cat(pieces, 1), both.expected(ids))


@torch.inference_mode()
def test_rows_of_different_lengths_get_their_individual_logits(both: Pair) -> None:
    starts = (0, LENGTH - 3, 11)
    ids = random_ids(3, LENGTH)
    padded = ids.clone()
    for row, start in enumerate(starts):
        padded[row, :start] = 0
    cache = both.cache(LENGTH, starts)
    pieces = [both.actual(part, cache) for part in padded.split((LENGTH - 2, 1, 1), 1)]
    together = torch.cat(pieces, 1)
    for row, start in enumerate(starts):
        alone = both.actual(ids[row : row + 1, start:])[0]
        assert (together[row, start:] - alone).abs().max() <= 1e-5 * max(1.0, float(alone.abs().max()))
        assert_close(together[row, start:], both.expected(ids[row : row + 1, start:])[0])


@torch.inference_mode()
def test_only_the_last_logits_are_the_last_of_all(both: Pair) -> None:
    ids = random_ids(1, LENGTH)
    assert torch.allclose(both.actual(ids, last_token_only=True), both.actual(ids)[:, -1:], atol=1e-5)


def test_written_back_every_tensor_is_what_it_was(both: Pair) -> None:
    state = both.actual.state_dict()
    written = {
        name: to_hf_tensor(sources, state.__getitem__) for name, sources in invert_mapping(both.joins).items()
    }
    for name, tensor in written.items():
        assert torch.equal(tensor, both.checkpoint.read(name)), name
    unused = family_of("it", both.checkpoint.config).unused_tensors
    left = both.checkpoint.tensors.keys() - written.keys() - {"lm_head.weight"}
    assert [name for name in left if not any(fnmatchcase(name, value) for value in unused)] == []


def test_gradients_reach_every_parameter(both: Pair) -> None:
    both.actual.requires_grad_(True)
    both.actual(random_ids(4, 5 * LENGTH)).square().mean().backward()
    without = [name for name, parameter in both.actual.named_parameters() if parameter.grad is None]
    both.actual.requires_grad_(False)
    assert [name for name in without if ".indexer." not in name] == []  # a selection has no gradient


def test_the_chunked_loss_and_its_gradients_equal_the_full_ones(both: Pair) -> None:
    model, ids = both.actual, random_ids(2, LENGTH)
    targets = ids.masked_fill(torch.arange(LENGTH) % 5 == 0, -100)
    with torch.inference_mode():
        reference = _mean_cross_entropy(both.expected(ids), targets)
    model.requires_grad_(True)
    try:
        plain = _mean_cross_entropy(model(ids), targets)
        expected = _gradients(model, plain)
        model.gradient_checkpointing = True  # must not make a difference either
        loss = model.loss(ids, targets)
        actual = _gradients(model, loss)
    finally:
        model.gradient_checkpointing = False
        model.requires_grad_(False)
    assert abs(float(loss.detach()) - float(reference)) <= 1e-4 * float(reference)
    for name, gradient in expected.items():
        # Gradients that are only rounding errors are compared on the scale of the rounded values.
        near = 1e-4 * max(float(gradient.abs().max()), 1e-2)
        assert torch.allclose(actual[name], gradient, rtol=1e-4, atol=near), name


def _mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets[:, 1:].flatten())


def _gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters, materialize_grads=True), strict=True))
