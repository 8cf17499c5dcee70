"""Tests of the order of training data, and of resuming within an epoch, in the Trainer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from litgpt.adapters.training.data.data_module import BaseDataModule
from litgpt.adapters.training.data.sampler import EpochSampler, ResumableLoader
from litgpt.domain.errors import InvalidArgument
from litgpt.testing import ByteTokenizer
from tests.adapters.recording import LIGHTNINGS_OWN, Recorder, SaveEach, trainer
from tests.architecture.repository import ROOT

pytestmark = LIGHTNINGS_OWN

EPOCHS = 3
BATCHES = 4


class Numbers(BaseDataModule):
    """Seven examples, so that the last of four batches is half full."""

    def train_examples(self) -> list[dict[str, str]]:
        return [{"prompt": f"{number}?", "completion": f"{number}!"} for number in range(7)]


def numbers(workers: int = 0, *, seed: int = 42, batch_size: int = 2) -> Numbers:
    data = Numbers(seed=seed, num_workers=workers, val_split_fraction=None)
    data.connect(ByteTokenizer(), batch_size=batch_size, max_seq_length=64)
    return data


def fed(
    folder: Path, data: Numbers, *callbacks: SaveEach, ckpt: Path | None = None, epochs: int = EPOCHS
) -> list[list[list[int]]]:
    recorder = Recorder()
    trainer(folder, *callbacks, max_epochs=epochs).fit(recorder, data, ckpt_path=ckpt)
    return recorder.fed


def test_an_order_follows_from_the_seed_and_the_epoch(tmp_path: Path) -> None:
    first = fed(tmp_path, numbers())
    assert len(first) == EPOCHS * BATCHES
    assert fed(tmp_path, numbers()) == first
    assert fed(tmp_path, numbers(seed=1)) != first
    epochs = [first[start : start + BATCHES] for start in range(0, len(first), BATCHES)]
    assert len({str(epoch) for epoch in epochs}) == EPOCHS
    texts = [sorted(str(value[:3]) for batch in epoch for value in batch) for epoch in epochs]
    assert texts[0] == texts[1] == texts[2]
    assert len(set(texts[0])) == 7


@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_training_continues_with_the_next_batch(workers: int, tmp_path: Path) -> None:
    """From every batch of every epoch, the first and last included."""
    saving = SaveEach(tmp_path)
    uninterrupted = fed(tmp_path, numbers(workers), saving)
    assert len(saving.saved) == len(uninterrupted) == EPOCHS * BATCHES
    chosen = range(1, len(uninterrupted)) if workers == 0 else (2, 4, 7)
    for batches in chosen:
        resumed = fed(tmp_path, numbers(workers), ckpt=saving.saved[batches - 1])
        assert resumed == uninterrupted[batches:], f"resumed after {batches} batches"


def test_a_training_can_be_interrupted_twice(tmp_path: Path) -> None:
    first, second = SaveEach(tmp_path / "first"), SaveEach(tmp_path / "second")
    uninterrupted = fed(tmp_path, numbers(), first)
    fed(tmp_path, numbers(), second, ckpt=first.saved[1])  # after 2 batches
    assert fed(tmp_path, numbers(), ckpt=second.saved[0]) == uninterrupted[3:]


def test_a_second_fit_starts_from_the_first_step(tmp_path: Path) -> None:
    data = numbers()
    assert fed(tmp_path, data, epochs=1) == fed(tmp_path, data, epochs=1)


def test_resuming_with_other_batches_is_refused(tmp_path: Path) -> None:
    saving = SaveEach(tmp_path)
    fed(tmp_path, numbers(), saving)
    with pytest.raises(
        InvalidArgument, match="batch_size must be 2, as in the checkpoint, which was saved within an epoch"
    ):
        fed(tmp_path, numbers(batch_size=3), ckpt=saving.saved[0])


def test_overfitting_on_a_batch_sees_that_batch_again_and_again(tmp_path: Path) -> None:
    recorder = Recorder()
    with pytest.warns(UserWarning, match="turning off the train dataloader shuffling"):
        trainer(tmp_path, max_epochs=3, overfit_batches=1).fit(recorder, numbers())
    assert recorder.fed[0] == recorder.fed[1] == recorder.fed[2]


def test_ranks_share_an_epoch_and_resume_together() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(12))
    whole: list[int] = []
    rest: list[int] = []
    for rank in range(2):
        seen: list[int] = []
        order = EpochSampler[int](data, num_replicas=2, rank=rank, seed=3)
        loader = ResumableLoader(data, sampler=order, batch_size=2)
        for batch in loader:
            seen += batch[0].tolist()
            if len(seen) == 2:
                state = loader.state_dict()
        second = ResumableLoader(
            data, sampler=EpochSampler[int](data, num_replicas=2, rank=rank, seed=3), batch_size=2
        )
        second.load_state_dict(state)
        assert second.state_dict() == state
        rest_here = [number for batch in second for number in batch[0].tolist()]
        assert rest_here == seen[2:]
        whole += seen
        rest += rest_here
    assert sorted(whole) == list(range(12))
    assert len(rest) == 8


def test_processes_share_an_epoch_and_resume_together_in_the_trainer(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.adapters.data_in_two_processes", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    fed = []
    for rank in range(2):
        whole, rest = json.loads((tmp_path / f"{rank}.json").read_text())
        assert len(whole) == 2 * 4
        assert rest == whole[3:]
        fed += [str(row) for batch in whole[:4] for row in batch]
    assert len(fed) == 8
    assert len(set(fed)) == 7  # one example is repeated, so that both ranks have equally many


def test_an_interrupted_data_loader_starts_again() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(6))
    loader = ResumableLoader(data, sampler=EpochSampler[int](data, num_replicas=1, rank=0), batch_size=2)
    first = next(iter(loader))[0].tolist()
    assert next(iter(loader))[0].tolist() == first
