"""The data, the output directory and the checkpoints of a run; imports torch only to resume one."""

import re
from pathlib import Path

from litgpt.adapters.training.config_file import read_settings
from litgpt.adapters.training.data.documents import document_files
from litgpt.adapters.training.data.record_files import split_files
from litgpt.domain.errors import InvalidArgument, LitGPTError
from litgpt.domain.overwrite_check import WouldOverwrite
from litgpt.domain.progress import Notice, Reporter
from litgpt.domain.training.config import CONFIG_FIELDS, TrainConfig, config_from_settings
from litgpt.domain.validators import local_path

CONFIG_FILE = "recipe.yaml"
CHECKPOINT_FOLDER = "checkpoints"
HUB_DATASETS = ("alpaca", "alpaca2k", "alpaca_2k")
"""Names of data sets on the Hub, which are not paths."""

_CHECKPOINT_NAME = re.compile(r"step-(\d+)\.ckpt")


def check_paths(config: TrainConfig, *, resume: str | None, overwrite: bool) -> None:
    """Check the training data and the output directory of a run, before anything is loaded.

    Raises:
        InvalidArgument: `out_dir` is a file, the run to resume has no checkpoint, or is to be overwritten.
        DataNotFound: A data file does not exist.
        InvalidData: A data file has a suffix that is not supported, or a folder has no data.
        WouldOverwrite: A new run would replace an earlier run, or a recipe written by hand.
    """
    out = local_path("out_dir", config.out_dir)
    if out.exists() and not out.is_dir():
        raise InvalidArgument("out_dir", str(out), "a folder")
    if resume is not None and overwrite:
        raise InvalidArgument("overwrite", overwrite, "False with resume= (a resumed run replaces nothing)")
    if resume is not None:
        _resume_candidates(out, resume)
    elif not overwrite:
        _check_no_earlier_run(config, out)
    if config.task == "pretrain":
        for path in pretraining_paths(config):
            if path is not None:
                document_files(path)
    elif config.data not in HUB_DATASETS:
        split_files(local_path("data", config.data))


def pretraining_paths(config: TrainConfig) -> tuple[Path, Path | None]:
    """Return the folders `train` and `val` in the data folder, or the data path and None."""
    path = local_path("data", config.data)
    train, val = path / "train", path / "val"
    return (train, val) if train.is_dir() and val.is_dir() else (path, None)


def _check_no_earlier_run(config: TrainConfig, out: Path) -> None:
    if newest := max((out / CHECKPOINT_FOLDER).glob("step-*.ckpt"), default=None):
        step = int(newest.stem.removeprefix("step-"))
        remedy = "Use another out_dir, continue with resume='last', or replace the run with overwrite=True."
        raise WouldOverwrite(str(out), f"a run (step {step})", remedy)
    if _is_written_by_hand(out / CONFIG_FILE, config):
        raise WouldOverwrite(str(out / CONFIG_FILE), "a recipe written by hand, with other settings")


def resume_path(config: TrainConfig, out: Path, resume: str | None, report: Reporter) -> Path | None:
    """Return the checkpoint to resume from, a path or `last`; None for a new run."""
    if resume is None:
        return None
    from litgpt.adapters.training.checkpointing import checkpoint_to_resume

    candidates = _resume_candidates(out, resume)
    return checkpoint_to_resume(candidates, sharded=config.strategy == "fsdp", report=report)


def report_finished(out: Path, checkpoint: Path | None, num_steps: int | None, report: Reporter) -> bool:
    """Report, and return, whether a resumed run has no steps left, by the name of its checkpoint."""
    match = None if checkpoint is None else _CHECKPOINT_NAME.fullmatch(checkpoint.name)
    if match is None or num_steps is None or int(match[1]) < num_steps:
        return False
    report(Notice(f"{out} is already at step {int(match[1])} of {num_steps}; nothing to train."))
    return True


def _resume_candidates(out: Path, resume: str) -> list[Path]:
    """Return the existing checkpoints, newest first, without importing torch."""
    if resume != "last":
        path = local_path("resume", resume)
        if not path.exists():
            raise InvalidArgument("resume", resume, "'last' or the path of an existing checkpoint")
        return [path]
    folder = out / CHECKPOINT_FOLDER
    if candidates := sorted(folder.glob("step-*.ckpt"), reverse=True):
        return candidates
    raise InvalidArgument("resume", resume, f"the path of a checkpoint, because {folder} has none")


def remove_checkpoints(out: Path) -> None:
    """Remove the checkpoints of an earlier run that a new run replaces."""
    from litgpt.adapters.training.checkpointing import delete_checkpoint

    for path in (out / CHECKPOINT_FOLDER).glob("step-*.ckpt*"):
        delete_checkpoint(path)


def _is_written_by_hand(path: Path, config: TrainConfig) -> bool:
    """Return whether a file differs from the configuration and lacks settings, all of which a run writes."""
    if not path.exists():
        return False
    try:
        settings = read_settings(path)
        return not CONFIG_FIELDS.keys() <= settings.keys() and config_from_settings(settings) != config
    except LitGPTError:
        return True
