"""Tests of the plot of the losses, from the calls to matplotlib."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

from litgpt.adapters.training.loss_curve import draw_losses
from litgpt.adapters.training.metrics import COLUMNS

TITLE = "tiny$model$, LoRA, rank 8"


def plotted_axes(folder: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plot a run of this many steps, with a validation at its end, and return the axes."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *args: Any, **options: Any) -> None:
        figures.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    lines = [",".join(COLUMNS)]
    lines += [f"{step},0,{3 - step / 10},,0.001,1.0,100.0" for step in range(1, steps + 1)]
    lines.append(f"{steps},0,,2.5,,,")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    draw_losses(folder / "metrics.csv", folder / "loss.png", TITLE)
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    return figures[0].axes[0]


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_steps_are_whole_numbers(tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = plotted_axes(tmp_path, steps, monkeypatch)
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks
    assert all(float(tick).is_integer() for tick in ticks)


def test_the_title_has_model_and_method_unescaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = plotted_axes(tmp_path, 3, monkeypatch)
    assert axes.get_title() == TITLE
    assert axes.title.get_parse_math() is False


@pytest.mark.parametrize(("steps", "marked"), [(1, True), (2, False)])
def test_a_single_step_is_visible(
    tmp_path: Path, steps: int, *, marked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {line.get_label(): line for line in plotted_axes(tmp_path, steps, monkeypatch).get_lines()}
    smoothed = lines["training, smoothed"]
    assert (smoothed.get_marker() == "o") is marked
    assert list(smoothed.get_xdata()) == list(range(1, steps + 1))
    assert list(lines["validation"].get_xdata()) == [steps]
