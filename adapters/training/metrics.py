"""The figures of a run in progress: a row of metrics.csv for each step, and events for whoever watches."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
from lightning.pytorch.callbacks import Callback

from litgpt.adapters.training.learning import Learning
from litgpt.domain.reporting import Notice, Progress, Report

_DIGITS = {"tokens_per_second": ".1f"}
_FLOAT32_DIGITS = ".7g"

COLUMNS = ("step", "epoch", "train_loss", "val_loss", "learning_rate", "gradient_norm", "tokens_per_second")


class Metrics(Callback):
    """Counts, writes and shows what each optimiser step and each validation come to.

    Args:
        path: The CSV file. What it holds from an earlier run stays, up to the step where this one goes on.
        report: Gets each batch, step and validation.

    Attributes:
        train_loss: The mean loss of a target in the last step; None before the first.
        val_loss: The same in the last validation.
        tokens: The tokens of all steps of this run, padding included.
        tokens_per_second: The speed of this run's steps without validation and saving; None before the first.

    """

    def __init__(self, path: Path, report: Report) -> None:
        self.path, self._report = path, report
        self._step, self._since, self._seconds, self._shown = 0, 0.0, 0.0, ""
        self.tokens = 0
        self._batches = 0
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
        self._batches = 0
        self._tell(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Take note of a batch, and of a step if it completed one."""
        assert isinstance(pl_module, Learning)  # noqa: S101 - who made the trainer
        if trainer.global_step == self._step:
            self._batches += 1
            self._tell(trainer, pl_module)
            return
        self._batches = 0
        self._step, now = trainer.global_step, time.perf_counter()
        sums = pl_module.step_sums
        seconds, self._since = now - self._since, now
        self.tokens, self._seconds = self.tokens + sums.tokens, self._seconds + seconds
        speed = sums.tokens / seconds
        self.train_loss = lost = sums.mean_loss
        found = {
            "train_loss": lost,
            "learning_rate": pl_module.rate,
            "gradient_norm": pl_module.norm,
            "tokens_per_second": speed,
        }
        self._write(trainer, found)
        self._shown = self._figures(lost, pl_module.rate, speed)
        self._tell(trainer, pl_module)

    @property
    def tokens_per_second(self) -> float | None:
        """The speed of this run's steps."""
        return self.tokens / self._seconds if self._seconds else None

    def _figures(self, loss: float, rate: float, speed: float) -> str:
        validation = "" if self.val_loss is None else f"validation loss {self.val_loss:.4f}, "
        return f"loss {loss:.4f}, {validation}learning rate {rate:.2e}, {speed:,.0f} tokens/s"

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any, **_: Any
    ) -> None:
        """Report how far the validation is."""
        del pl_module
        done, total = args[2] + 1, sum(trainer.num_val_batches)
        if trainer.is_global_zero and not trainer.sanity_checking:
            self._report(Progress("Validating", done, int(total), unit="batches"))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take note of the loss on the data for validation."""
        assert isinstance(pl_module, Learning)  # noqa: S101 - who made the trainer
        self.val_loss = pl_module.val_loss
        if trainer.sanity_checking or self.val_loss is None:
            return
        self._write(trainer, {"val_loss": self.val_loss})
        if trainer.is_global_zero:
            step = f"step {trainer.global_step} of {pl_module.steps}"
            self._report(Notice(f"Validation: {step}, validation loss {self.val_loss:.4f}"))
        self._since = time.perf_counter()  # the next step is not to pay for this

    def _write(self, trainer: L.Trainer, found: dict[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(found, trainer.global_step)
        if not trainer.is_global_zero:
            return
        written = {name: format(value, _DIGITS.get(name, _FLOAT32_DIGITS)) for name, value in found.items()}
        row = {"step": trainer.global_step, "epoch": trainer.current_epoch, **written}
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
            done = min(trainer.global_step + self._batches / trainer.accumulate_grad_batches, total)
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
