"""Plot the loss curve."""

from collections.abc import Sequence
from pathlib import Path

from litgpt.adapters.training.metrics import read_metrics
from litgpt.domain.errors import NotInstalled


def draw_losses(metrics: Path, picture: Path, title: str) -> None:
    """Plot the training and validation losses of a metrics file as PNG."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise NotInstalled("The plot of the losses", "matplotlib", "pip install matplotlib") from error
    rows = read_metrics(metrics)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps, losses = _points(rows, "train_loss")
    axes.plot(steps, losses, color="tab:blue", alpha=0.35, linewidth=1, label="training")
    # A line through one point is invisible.
    axes.plot(
        steps,
        _smooth(losses),
        color="tab:blue",
        marker="o" if len(steps) == 1 else None,
        label="training, smoothed",
    )
    steps, losses = _points(rows, "val_loss")
    if steps:
        axes.plot(steps, losses, color="tab:orange", marker="o", markersize=4, label="validation")
    axes.set(xlabel="step", ylabel="loss, nats per token")
    axes.set_title(title, parse_math=False)  # a folder's name may have dollar signs
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120)


def _points(rows: Sequence[dict[str, str]], column: str) -> tuple[list[int], list[float]]:
    points = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
    return [step for step, _ in points], [loss for _, loss in points]


def _smooth(losses: Sequence[float]) -> list[float]:
    """Return a moving average over 5 % of the run."""
    width = max(1, len(losses) // 20)
    return [
        sum(part) / len(part)
        for at in range(len(losses))
        if (part := losses[max(0, at - width + 1) : at + 1])
    ]
