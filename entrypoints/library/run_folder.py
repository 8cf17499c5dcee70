"""The folder of a run: where it begins, and that nothing there is replaced unasked."""

from pathlib import Path

from litgpt.adapters.training.checkpoints import newest, remove, to_resume
from litgpt.adapters.training.recipe_file import read_settings
from litgpt.domain.errors import BadArgument, LitGPTError
from litgpt.domain.overwriting import WouldOverwrite
from litgpt.domain.reporting import Report
from litgpt.domain.training.recipe import SETTINGS, Recipe, recipe_of

RECIPE = "recipe.yaml"
CHECKPOINTS = "checkpoints"


def checkpoint_to_begin_from(
    recipe: Recipe, out: Path, resume: str | None, report: Report, *, overwrite: bool
) -> Path | None:
    """Return the checkpoint from which a run goes on; None: a new run begins.

    Args:
        recipe: The settings of the run.
        out: Its folder.
        resume: `last`, the path of a checkpoint, or None for a new run.
        report: Receives which checkpoints are damaged.
        overwrite: Whether a new run may replace an earlier one.

    Raises:
        BadArgument: A new run would replace the checkpoints of an earlier one, or there is none to resume.
        WouldOverwrite: It would replace settings that somebody wrote by hand.

    """
    folder = out / CHECKPOINTS
    if resume is not None:
        if overwrite:
            raise BadArgument("overwrite", overwrite, "False when a run is resumed, which replaces nothing")
        return to_resume(folder, resume, sharded=recipe.strategy == "fsdp", report=report)
    if overwrite:
        return None
    if there := newest(folder):
        earlier = f"{there.name} is of an earlier run, which overwrite=True replaces"
        raise BadArgument("out_dir", str(out), f"another folder, or resume 'last': {earlier}")
    if _is_written_by_hand(out / RECIPE, recipe):
        raise WouldOverwrite(str(out / RECIPE), "settings that were written by hand, and not these")
    return None


def remove_checkpoints(out: Path) -> None:
    """Remove the checkpoints of an earlier run, which a new one replaces."""
    for path in (out / CHECKPOINTS).glob("step-*.ckpt*"):
        remove(path)


def _is_written_by_hand(path: Path, recipe: Recipe) -> bool:
    """Return whether a file has settings that no run wrote (a run writes all of them) and other values."""
    if not path.exists():
        return False
    try:
        settings = read_settings(path)
        return not SETTINGS.keys() <= settings.keys() and recipe_of(settings) != recipe
    except LitGPTError:
        return True
