"""Tests of continuous batching: the logits of a sequence are those that it gets alone."""

from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from litgpt.adapters.pytorch.generation.model_runner import TorchModelRunner
from litgpt.adapters.pytorch.generation.running_batch import RunningBatch, TorchSequence
from litgpt.adapters.pytorch.generation.sequence_batches import SequenceBatches
from litgpt.adapters.pytorch.model.gpt import GPT
from tests.adapters.tiny_models import VOCAB_SIZE
from tests.agreement.models import VARIANTS, WINDOW, pair

MAX_LENGTH = 5 * WINDOW
SLOTS = 6
NAMES = (
    "llama",
    "llama, dynamic positions, longer than the original context",  # RoPE depends on the maximum length
    "mistral",  # a sliding window
    "gemma3",  # in some layers only
    "gpt_oss",  # attention sinks
    "llama4",  # chunked attention
    "gemma3n",  # AltUp, per-layer embeddings, keys and values of another layer
    "deepseek_v3",  # latent attention
    "qwen3_next",  # gated delta nets
    "jamba",  # Mamba
    "nemotron_h",  # Mamba-2, layers that are a mixer or an MLP
    "falcon_h1",  # attention and Mamba-2 in each layer
    "gpt2",  # learned positions
    "bloom",  # ALiBi
    "falcon, scores that fall",  # ALiBi, rounded
)


@pytest.fixture(
    scope="module", params=[v for v in VARIANTS if v.name in NAMES], ids=lambda variant: variant.name
)
def model(request: Any, tmp_path_factory: pytest.TempPathFactory) -> GPT:
    return pair(request.param, tmp_path_factory.mktemp("runner")).actual


@attrs.define(eq=False)
class Answer:
    """A sequence of the runner and all of its tokens."""

    sequence: TorchSequence
    max_length: int
    ids: list[int] = attrs.field(factory=list)


def alone(model: GPT, answer: Answer) -> Tensor:
    """Return the logits (V,) after the tokens of an answer, in one pass over them."""
    cache = model.empty_cache(max_length=answer.max_length, lengths=[answer.max_length])
    logits: Tensor = model(torch.tensor([answer.ids]), cache, last_token_only=True)[0, -1]
    return logits


@attrs.define(eq=False)
class Scheduler:
    """Gives the sequences of a runner random tokens and compares their logits."""

    model: GPT
    runner: SequenceBatches
    random: torch.Generator = attrs.field(factory=lambda: torch.Generator().manual_seed(0))
    slots: list[Answer | None] = attrs.field(factory=lambda: [None] * SLOTS)

    def step(self, counts: list[int], *, compare: bool = True) -> None:
        """Append so many tokens to each sequence.

        At -1, or beyond its end, the sequence is released; at -2, it becomes a copy of the next one, or of
        the beginning of that one.
        """
        batch: list[tuple[Answer, list[int]]] = []
        for slot, count in enumerate(counts):
            if count == -2 and (other := self.slots[(slot + 1) % SLOTS]) is not None:
                self.fork(slot, other)
        for slot, count in enumerate(counts):
            answer = self.slots[slot]
            if answer is not None and (count == -1 or len(answer.ids) + count > answer.max_length):
                self.runner.release(answer.sequence)
                self.slots[slot] = answer = None
            if count > 0:
                if answer is None:
                    length = MAX_LENGTH - slot
                    answer = self.slots[slot] = Answer(TorchSequence(length), length)
                ids = torch.randint(VOCAB_SIZE, (count,), generator=self.random).tolist()
                answer.ids += ids
                batch.append((answer, ids))
        if not batch:
            return
        logits = self.runner.step([(answer.sequence, ids) for answer, ids in batch])
        assert len(logits) == len(batch)
        if not compare:
            return
        for row, (answer, _) in zip(logits, batch, strict=True):
            expected = alone(self.model, answer)
            # Matrix products of other sizes round differently, in one row of other chunks by up to 1e-5.
            assert (row - expected).abs().max() <= 3e-5 * max(1.0, float(expected.abs().max()))

    def fork(self, slot: int, other: Answer) -> None:
        length = len(other.ids)
        if TorchModelRunner(self.model, capacity=0).can_truncate:
            length = int(torch.randint(1, length + 1, (), generator=self.random))
            if slot % 2 and length < len(other.ids):
                self.runner.truncate(other.sequence, length)
                del other.ids[length:]
        sequence = self.runner.fork(other.sequence, length, other.max_length)
        if (replaced := self.slots[slot]) is not None:
            self.runner.release(replaced.sequence)
        self.slots[slot] = Answer(sequence, other.max_length, other.ids[:length])


# Mostly decoding, as in a server: one token for each sequence that has one.
COUNTS = st.one_of(st.just(1), st.just(1), st.just(1), st.integers(-2, 3), st.integers(2, 3 * WINDOW))
SCHEDULES = st.lists(st.lists(COUNTS, min_size=SLOTS, max_size=SLOTS), min_size=1, max_size=20)


@settings(max_examples=8)
@given(schedule=SCHEDULES, fixed=st.booleans())
@torch.inference_mode()
def test_sequences_join_and_leave_with_the_logits_that_they_get_alone(
    model: GPT, schedule: list[list[int]], *, fixed: bool
) -> None:
    scheduler = Scheduler(model, SequenceBatches(model, MAX_LENGTH if fixed else None))
    for counts in schedule:
        scheduler.step(counts)


@torch.inference_mode()
def test_a_sequence_is_truncated_after_a_longer_one_has_left_its_batch(model: GPT) -> None:
    if not TorchModelRunner(model, capacity=0).can_truncate:
        pytest.skip("sequences are not truncated")
    scheduler = Scheduler(model, SequenceBatches(model))
    scheduler.step([3, 2 * WINDOW])
    scheduler.step([1, 1])
    scheduler.step([1, -1])
    answer = scheduler.slots[0]
    assert answer is not None
    while len(answer.ids) < answer.max_length - 2:  # the KV cache is reallocated, without its first slots
        scheduler.step([1])
    scheduler.runner.truncate(answer.sequence, len(answer.ids) - 3)
    del answer.ids[-3:]
    scheduler.step([1])


@torch.inference_mode()
def test_drafts_of_several_sequences_are_computed_in_one_pass(
    model: GPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not TorchModelRunner(model, capacity=0).can_truncate:
        pytest.skip("sequences are not truncated")
    scheduler = Scheduler(model, SequenceBatches(model))
    scheduler.step([5, 3, 8])
    scheduler.step([1, 1, 1])
    passes: list[int] = []
    forward = RunningBatch.forward

    def counted(batch: RunningBatch, tokens: list[list[int]], num_logits: int = 1) -> Tensor:
        passes.append(len(tokens))
        return forward(batch, tokens, num_logits)

    monkeypatch.setattr(RunningBatch, "forward", counted)
    for counts, kept in (([3, 1, 2], [1, 1, 2]), ([1, 4, 4], [1, 1, 3]), ([2, 1, 2], [2, 1, 1])):
        answers = [answer for answer in scheduler.slots if answer is not None]
        tokens = [torch.randint(VOCAB_SIZE, (it,), generator=scheduler.random).tolist() for it in counts]
        batch = [(answer.sequence, ids) for answer, ids in zip(answers, tokens, strict=True)]
        rows = iter(scheduler.runner.step(batch, [range(it) for it in counts]))
        for answer, ids, accepted in zip(answers, tokens, kept, strict=True):
            for token in ids:
                answer.ids.append(token)
                assert (next(rows) - alone(model, answer)).abs().max() <= 1e-4
            if accepted < len(ids):
                del answer.ids[accepted - len(ids) :]
                scheduler.runner.truncate(answer.sequence, len(answer.ids))
        scheduler.step([1, 1, 1])
    assert passes == [3] * 6
    scheduler.step([-1, 1, -1])


@torch.inference_mode()
def test_a_batch_whose_sequences_are_replaced_for_long_does_not_grow(model: GPT) -> None:
    runner = SequenceBatches(model)
    scheduler = Scheduler(model, runner)
    sizes = []
    for step in range(10 * MAX_LENGTH):
        counts = [1] * SLOTS
        if step % 5 == 0:
            slot = step // 5 % SLOTS
            if (answer := scheduler.slots[slot]) is not None:
                runner.release(answer.sequence)
                scheduler.slots[slot] = None
            counts[slot] = 3
        scheduler.step(counts, compare=step % 40 == 39)
        sizes.append(sum(part.cache.nbytes for part in runner.batches))
    assert max(sizes[MAX_LENGTH:]) <= 2 * max(sizes[:MAX_LENGTH])
    for answer in scheduler.slots:
        assert answer is not None
        runner.release(answer.sequence)
    assert runner.batches == []
