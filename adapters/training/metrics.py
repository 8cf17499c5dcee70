"""What is told of a run while it goes on: a line of metrics.csv for each step, and a bar."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
from lightning.pytorch.callbacks import Callback

from litgpt.adapters.training.learning import Learning
from litgpt.domain.reporting import Notice, Progress, Report

COLUMNS = ("step", "epoch", "train_loss", "val_loss", "learning_rate", "gradient_norm", "tokens_per_second")


class Metrics(Callback):
    """Counts, writes and shows what each optimiser step and each validation come to.

    Args:
        path: The CSV file. What it holds from an earlier run stays, up to the step where this one goes on.
        report: Is told of each step.

    """

    def __init__(self, path: Path, report: Report) -> None:
        self.path, self._report = path, report
        self._step, self._since, self._shown = 0, 0.0, ""
        self._is_written = True
        self.train_loss: float | None = None
        self.val_loss: float | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on with the file behind the step from which the run goes on."""
        assert isinstance(pl_module, Learning)  # noqa: S101 - who made the trainer
        self._step, self._since = trainer.global_step, time.perf_counter()
        if trainer.is_global_zero:
            rows = [row for row in read_metrics(self.path) if int(row["step"]) <= trainer.global_step]
            with self.path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
            self._tell(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Take note of a step, if this batch completed one."""
        if trainer.global_step == self._step:
            return
        assert isinstance(pl_module, Learning)  # noqa: S101 - who made the trainer
        self._step, now = trainer.global_step, time.perf_counter()
        sums = pl_module.step_sums
        speed, self._since = sums.tokens / (now - self._since), now
        self.train_loss = lost = sums.mean_loss
        found = {
            "train_loss": lost,
            "learning_rate": pl_module.rate,
            "gradient_norm": pl_module.norm,
            "tokens_per_second": speed,
        }
        self._write(trainer, found)
        self._shown = f"loss {lost:.3f}, {speed:,.0f} tokens/s"
        self._tell(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take note of what was lost on other data."""
        assert isinstance(pl_module, Learning)  # noqa: S101 - who made the trainer
        self.val_loss = pl_module.val_loss
        if trainer.sanity_checking or self.val_loss is None:
            return
        self._write(trainer, {"val_loss": self.val_loss})
        self._since = time.perf_counter()  # the next step is not to pay for this

    def _write(self, trainer: L.Trainer, found: dict[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(found, trainer.global_step)
        if not trainer.is_global_zero:
            return
        row = {"step": trainer.global_step, "epoch": trainer.current_epoch, **found}
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, COLUMNS).writerow(row)
        except OSError as error:
            if self._is_written:  # once: it would be told of every step
                lacks = f"{self.path} lacks step {trainer.global_step}, and maybe others"
                self._report(Notice(f"{lacks}: {(error.strerror or str(error)).lower()}."))
            self._is_written = False

    def _tell(self, trainer: L.Trainer, module: Learning) -> None:
        if trainer.is_global_zero:
            total = module.steps
            done = min(trainer.global_step, total)
            self._report(Progress("Training", done, total, unit="steps", note=self._shown))


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the rows of a metrics file; none if there is no such file.

    Rows that are damaged are left out: what was being written when the power failed is cut short, or zeros.
    """
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
    lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [row for row in csv.DictReader(lines, COLUMNS) if _is_whole(row)]


def _is_whole(row: Mapping[str | None, Any]) -> bool:
    if None in row or None in row.values() or not row["step"].isdecimal():
        return False
    try:
        for value in filter(None, row.values()):
            float(value)
    except ValueError:
        return False
    return True
