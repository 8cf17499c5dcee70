"""Small training runs: examples, configs, and results."""

import csv
import json
from pathlib import Path
from typing import Any

from litgpt.domain.training.config import TrainConfig
from tests.adapters.tiny_models import tiny_folder


def examples(path: Path, count: int = 40) -> Path:
    """Write examples in Alpaca's format, one per line, and return the path."""
    lines = [json.dumps({"instruction": f"say {i}", "output": f"number {i}"}) for i in range(count)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def train_config(folder: Path, **settings: Any) -> TrainConfig:
    """Return the config of a short run on a tiny model. Its data are written; the output folder is `out`."""
    data = folder / "examples.jsonl"
    usual: dict[str, Any] = {
        "model": tiny_folder("llama"),
        "data": data if data.exists() else examples(data),
        "out_dir": folder / "out",
        "method": "full",
        "accelerator": "cpu",
        "precision": "32-true",
        "learning_rate": 1e-2,
        "batch_size": 4,
        "max_seq_length": 200,
    }
    return TrainConfig(**(usual | settings))


def rows(out: Path) -> list[dict[str, str]]:
    """Return the rows of a run's metrics.csv."""
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def losses(out: Path) -> list[tuple[str, str]]:
    """Return each step with its loss, from metrics.csv."""
    return [(row["step"], row["train_loss"]) for row in rows(out) if row["train_loss"]]


def validated(out: Path) -> list[tuple[str, str]]:
    """Return each validation's step and loss, from metrics.csv."""
    return [(row["step"], row["val_loss"]) for row in rows(out) if row["val_loss"]]


def checkpoints(out: Path) -> list[str]:
    """Return the names of all entries in a run's checkpoint folder."""
    folder = out / "checkpoints"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
