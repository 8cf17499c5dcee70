"""Small runs: a tiny model, forty records, and a config that overfits them in a second."""

import csv
import json
from pathlib import Path
from typing import Any

import attrs

from litgpt.domain.progress import Notice, Progress, Reporter
from litgpt.training import TrainConfig, TrainResult, train
from tests.adapters.tiny_models import tiny_folder

RECORDS = 40

VARIED_LENGTHS: dict[str, Any] = {
    "mask_prompt": True,
    "prompt_style": "phi-2",
    "max_seq_length": 120,
    "learning_rate": 1e-3,
}
"""Settings for `write_unlike`."""


@attrs.define
class Reported:
    """The events of a run; fails at one step, if requested."""

    fail_at: int | None = None
    notices: list[str] = attrs.field(factory=list)
    steps: list[float] = attrs.field(factory=list)

    def __call__(self, event: Notice | Progress) -> None:
        if isinstance(event, Notice):
            self.notices.append(event.text)
        elif event.description == "Training":
            self.steps.append(event.completed)
            if event.completed == self.fail_at:
                raise InterruptedError


def write_records(folder: Path) -> Path:
    path = folder / "data.json"
    records = [{"instruction": f"say {i}", "output": f"it is {i * 7}"} for i in range(RECORDS)]
    path.write_text(json.dumps(records))
    return path


def write_varied_lengths(folder: Path, count: int = 11) -> Path:
    """Write examples whose answers differ in length."""
    path = folder / "unlike.jsonl"
    records = [{"instruction": f"q{i}", "output": "yes " * (1 + i * 7 % 20)} for i in range(count)]
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def settings(folder: Path, **options: Any) -> dict[str, Any]:
    small = {"batch_size": 2, "accumulate": 2, "max_seq_length": 48, "learning_rate": 1e-2}
    where = {"model": str(tiny_folder("llama")), "data": str(write_records(folder)), "accelerator": "cpu"}
    return {
        **where,
        **small,
        "method": "full",
        "precision": "32-true",
        "out_dir": str(folder / "out"),
        **options,
    }


def trained(
    folder: Path, *, resume: str | None = None, reported: Reporter | None = None, **options: Any
) -> TrainResult:
    return train(TrainConfig(**settings(folder, **options)), resume=resume, report=reported or Reported())


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def losses(out: Path, column: str = "train_loss") -> list[float]:
    return [float(row[column]) for row in rows(out) if row[column]]
