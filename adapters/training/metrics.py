"""The metrics of a run: a row of metrics.csv per step, logger events and progress."""

import csv
import io
import re
import time
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's convention
from lightning.pytorch.callbacks import Callback

from litgpt.adapters.training.lightning_module import LitModel
from litgpt.application.files.atomic_write import atomic_write
from litgpt.domain.formatting.units import format_count
from litgpt.domain.progress import Notice, Progress, Reporter
from litgpt.domain.validation.untrusted_files import error_message

_DIGITS = {"tokens_per_second": ".1f"}
_FLOAT32_DIGITS = ".7g"

COLUMNS = ("step", "epoch", "train_loss", "val_loss", "learning_rate", "gradient_norm", "tokens_per_second")
_STEP = re.compile(r"[0-9]{1,15}")
_MAX_STEP = 1 << 30


class MetricsCallback(Callback):
    """Records and reports the metrics of each optimizer step and validation.

    Losses are means over targets, token counts include padding, and the speed excludes validation and saving.
    A resumed run keeps the rows of the CSV file up to its first step.
    """

    def __init__(self, path: Path, report: Reporter) -> None:
        self.path, self._report = path, report
        self._step, self._since, self._seconds, self._shown = 0, 0.0, 0.0, ""
        self.tokens = 0
        self._batches = 0
        self._is_written = True
        self._is_continued = False
        self.train_loss: float | None = None
        self.val_loss: float | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, LitModel)  # noqa: S101 - build_trainer is used with LitModel only
        self._step, self._since = trainer.global_step, time.perf_counter()
        is_due = self.is_validation_due(trainer, pl_module)
        self._continue_file(trainer)
        self._batches = 0
        self._report_progress(trainer, pl_module)
        if is_due:
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.restarting = False
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True
            self._since = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Continue the metrics file if a run without remaining steps validates."""
        self._continue_file(trainer)

    def is_validation_due(self, trainer: L.Trainer, module: LitModel) -> bool:
        """Return whether the validation of the resumed step is missing from metrics.csv.

        A checkpoint is saved before the validation of its step, and the process may end between them.
        """
        loop, step = trainer.fit_loop.epoch_loop, trainer.global_step
        if step == 0 or not trainer.enable_validation:
            return False
        progress, interval = loop.batch_progress, trainer.val_check_batch
        batches = progress.total if trainer.check_val_every_n_epoch is None else progress.current
        at_interval = interval not in (None, 0) and batches.ready > 0 and batches.ready % interval == 0
        is_due = (at_interval or step >= module.num_steps) and not any(
            row["val_loss"] for row in read_metrics(self.path) if int(row["step"]) == step
        )
        return bool(trainer.strategy.broadcast(is_due))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, LitModel)  # noqa: S101 - build_trainer is used with LitModel only
        if trainer.global_step == self._step:
            self._batches += 1
            self._report_progress(trainer, pl_module)
            return
        self._batches = 0
        self._step, now = trainer.global_step, time.perf_counter()
        sums = pl_module.step_sums
        seconds, self._since = now - self._since, now
        self.tokens, self._seconds = self.tokens + sums.tokens, self._seconds + seconds
        speed = sums.tokens / seconds
        self.train_loss = loss = sums.mean_loss
        metrics = {
            "train_loss": loss,
            "learning_rate": pl_module.learning_rate,
            "gradient_norm": pl_module.grad_norm,
            "tokens_per_second": speed,
        }
        self._write(trainer, metrics)
        self._shown = self._figures(loss, pl_module.learning_rate, speed)
        self._report_progress(trainer, pl_module)

    @property
    def tokens_per_second(self) -> float | None:
        return self.tokens / self._seconds if self._seconds else None

    def _figures(self, loss: float, rate: float, speed: float) -> str:
        validation = "" if self.val_loss is None else f"validation loss {self.val_loss:.4f}, "
        return f"loss {loss:.4f}, {validation}learning rate {rate:.2e}, {speed:,.0f} tokens/s"

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        completed, total = args[3] + 1, sum(trainer.num_val_batches)
        if trainer.is_global_zero and not trainer.sanity_checking:
            self._report(Progress("Validating", completed, int(total), unit="batches"))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, LitModel)  # noqa: S101 - build_trainer is used with LitModel only
        self.val_loss = pl_module.val_loss
        if trainer.sanity_checking or self.val_loss is None:
            return
        self._write(trainer, {"val_loss": self.val_loss})
        if trainer.is_global_zero:
            step = f"step {trainer.global_step} of {pl_module.num_steps}"
            self._report(Notice(f"Validation: {step}, validation loss {self.val_loss:.4f}"))
        self._since = time.perf_counter()  # excludes the validation from the speed of the next step

    def _continue_file(self, trainer: L.Trainer) -> None:
        """Keep the rows of an earlier run up to the step from which this one continues, once."""
        if self._is_continued or not trainer.is_global_zero:
            return
        self._is_continued = True
        rows = [row for row in self._read() if int(row["step"]) <= trainer.global_step]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        try:
            atomic_write(self.path, text.getvalue().encode())
        except OSError as error:
            self._is_written = False
            self._report(Notice(f"{self.path} cannot be written: {error_message(error).lower()}."))

    def _read(self) -> list[dict[str, str]]:
        """Return the rows of an earlier run, and report damaged rows."""
        rows, problem = _rows(self.path)
        if problem:
            self._report(Notice(f"{self.path} is continued without some steps: {problem}."))
        return rows

    def _write(self, trainer: L.Trainer, metrics: dict[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(metrics, trainer.global_step)
        if not trainer.is_global_zero:
            return
        written = {name: format(value, _DIGITS.get(name, _FLOAT32_DIGITS)) for name, value in metrics.items()}
        row = {"step": trainer.global_step, "epoch": trainer.current_epoch, **written}
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, COLUMNS).writerow(row)
        except OSError as error:
            if self._is_written:  # report the first failure only
                problem = f"{self.path} was not updated at step {trainer.global_step}"
                self._report(Notice(f"{problem}: {error_message(error).lower()}."))
            self._is_written = False

    def _report_progress(self, trainer: L.Trainer, module: LitModel) -> None:
        if trainer.is_global_zero:
            total = module.num_steps
            completed = min(trainer.global_step + self._batches / trainer.accumulate_grad_batches, total)
            self._report(Progress("Training", completed, total, unit="steps", note=self._shown))


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the valid rows of a metrics file; an empty list if it does not exist or cannot be read.

    Damaged rows are skipped; after a power failure, the last row may be truncated or filled with zeros.
    """
    return _rows(path)[0]


def _rows(path: Path) -> tuple[list[dict[str, str]], str]:
    """Return the valid rows of a metrics file, and a description of the problem ("" if there is none)."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_STEP)
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        return [], f"it cannot be read ({error_message(error).lower()})"
    lines = raw.decode("utf-8", errors="replace").split("\n")
    rows = [row for line in lines[:-1] if (row := _row(line)) is not None]  # each line ends with "\n"
    damaged = len([line for line in lines if line.strip()]) - len(rows)
    damaged -= lines[0].strip() == ",".join(COLUMNS)
    if damaged:
        return rows, f"{format_count(damaged, 'damaged line')} cannot be read"
    return rows, "" if raw else "it is empty"


def _row(line: str) -> dict[str, str] | None:
    values = line.removesuffix("\r").split(",")
    if len(values) != len(COLUMNS) or not _STEP.fullmatch(values[0]):
        return None
    try:
        for value in filter(None, values):
            float(value)
    except ValueError:
        return None
    return dict(zip(COLUMNS, values, strict=True))
