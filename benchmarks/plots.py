"""Draw the results of a part: `plots.py PART RESULTS.json FILE.svg`, in an environment with matplotlib.

`speed` has a bar per engine, grouped by format, with the limit that the bandwidth of memory sets; `growth`
has a line per engine over the context length.
"""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = {
    "native": "tab:blue",
    "llama.cpp": "tab:orange",
    "torch engine": "tab:green",
    "transformers": "tab:red",
    "LitGPT": "tab:purple",
    "onnxruntime-genai": "tab:brown",
    "OpenVINO": "tab:pink",
    "CTranslate2": "tab:olive",
}
BAR = 0.8
DECODE = "decode_tokens_per_s"


def draw_speed(axes: Axes, rounds: list[dict[str, Any]]) -> None:
    """Draw the median decode speed of each contestant; contestants are called `engine format`."""
    speeds = {name: [it[name][DECODE] for it in rounds if DECODE in it[name]] for name in rounds[0]}
    names = [name for name, found in speeds.items() if found]
    formats = list(dict.fromkeys(name.rpartition(" ")[2] for name in names))
    place, ticks = 0.0, []
    for file_format in formats:
        engines = [name.rpartition(" ")[0] for name in names if name.endswith(f" {file_format}")]
        start = place
        for engine in engines:
            speed = median(speeds[f"{engine} {file_format}"])
            axes.bar(place, speed, BAR, color=COLORS[engine], label=engine)
            place += 1
        size = rounds[0][f"native {file_format}"]["weight_bytes"]
        limit = median(it["bandwidth"]["bytes_per_s"] for it in rounds) / size
        ends = start - BAR / 2, place - 1 + BAR / 2
        axes.hlines(limit, *ends, color="black", label="limit of the bandwidth")
        ticks.append((start + place - 1) / 2)
        place += 1
    axes.set_xticks(ticks, formats)
    axes.set_ylabel("decode, tokens/s")


def draw_growth(axes: Axes, results: dict[str, Any]) -> None:
    """Draw the time of a token over the context length."""
    for engine in ("native", "llama.cpp"):
        seconds = results[f"{engine} contexts"]["token_s"]
        times = [value * 1e3 for value in seconds.values()]
        axes.plot([int(it) for it in seconds], times, marker="o", color=COLORS[engine], label=engine)
    axes.set_xlabel("context, tokens")
    axes.set_ylabel("time of a token, ms")
    axes.set_ylim(bottom=0)


DRAWINGS = {"speed": draw_speed, "growth": draw_growth}


def main(part: str, results: Path, file: Path) -> None:
    """Write the plot; equal results give an equal file."""
    mpl.rcParams.update({"svg.hashsalt": part, "svg.fonttype": "none"})
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    DRAWINGS[part](axes, json.loads(results.read_text(encoding="utf-8")))
    labels = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(labels.values(), labels.keys())
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:4]))
