"""The output folder of a run: resuming and overwrite protection."""

from pathlib import Path

from litgpt.adapters.training.checkpointing import checkpoint_to_resume, delete_checkpoint, newest_checkpoint
from litgpt.adapters.training.config_file import read_settings
from litgpt.domain.errors import InvalidArgument, LitGPTError
from litgpt.domain.overwrite_check import WouldOverwrite
from litgpt.domain.progress import Reporter
from litgpt.domain.training.config import CONFIG_FIELDS, TrainConfig, config_from_settings

CONFIG_FILE = "recipe.yaml"
CHECKPOINT_FOLDER = "checkpoints"


def resume_path(
    config: TrainConfig, out: Path, resume: str | None, report: Reporter, *, overwrite: bool
) -> Path | None:
    """Return the checkpoint from which a run goes on; None: a new run begins.

    Args:
        config: The settings of the run.
        out: Its folder.
        resume: `last`, the path of a checkpoint, or None for a new run.
        report: Receives notices about damaged checkpoints.
        overwrite: Whether a new run may replace an earlier one.

    Raises:
        InvalidArgument: The checkpoint to resume from does not exist.
        WouldOverwrite: A new run would replace an earlier run, or a recipe written by hand.

    """
    folder = out / CHECKPOINT_FOLDER
    if resume is not None:
        if overwrite:
            raise InvalidArgument(
                "overwrite", overwrite, "False with resume=: a resumed run replaces nothing"
            )
        return checkpoint_to_resume(folder, resume, sharded=config.strategy == "fsdp", report=report)
    if overwrite:
        return None
    if there := newest_checkpoint(folder):
        step = int(there.stem.removeprefix("step-"))
        remedy = "Use another out_dir, continue with resume='last', or replace the run with overwrite=True."
        raise WouldOverwrite(str(out), f"a run (step {step})", remedy)
    if _is_written_by_hand(out / CONFIG_FILE, config):
        raise WouldOverwrite(str(out / CONFIG_FILE), "a recipe written by hand, with other settings")
    return None


def remove_checkpoints(out: Path) -> None:
    """Remove the checkpoints of an earlier run, which a new one replaces."""
    for path in (out / CHECKPOINT_FOLDER).glob("step-*.ckpt*"):
        delete_checkpoint(path)


def _is_written_by_hand(path: Path, config: TrainConfig) -> bool:
    """Return whether a file has settings that no run wrote (a run writes all of them) and other values."""
    if not path.exists():
        return False
    try:
        settings = read_settings(path)
        return not CONFIG_FIELDS.keys() <= settings.keys() and config_from_settings(settings) != config
    except LitGPTError:
        return True
