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
        BadArgument: There is no checkpoint to resume from.
        WouldOverwrite: A new run would replace an earlier run, or a recipe written by hand.

    """
    folder = out / CHECKPOINTS
    if resume is not None:
        if overwrite:
            raise BadArgument("overwrite", overwrite, "False with resume=: a resumed run replaces nothing")
        return to_resume(folder, resume, sharded=recipe.strategy == "fsdp", report=report)
    if overwrite:
        return None
    if there := newest(folder):
        step = int(there.stem.removeprefix("step-"))
        remedy = "Use another out_dir, continue with resume='last', or replace the run with overwrite=True."
        raise WouldOverwrite(str(out), f"a run (step {step})", remedy)
    if _is_written_by_hand(out / RECIPE, recipe):
        raise WouldOverwrite(str(out / RECIPE), "a recipe written by hand, with other settings")
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
