"""The results on disk: JSON in `.bench/`, and the text between a part's markers in BENCHMARKS.md."""

import json
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from environments import BENCH, HERE, ROOT, python_of
from machine import describe

BENCHMARKS = ROOT / "BENCHMARKS.md"


def store(part: str, results: Any) -> None:
    """Write the single measurements of a part."""
    (BENCH / f"{part}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def draw(part: str, title: str) -> str:
    """Draw the stored results of a part; return the line that shows the plot in BENCHMARKS.md."""
    file = ROOT / "docs" / "plots" / f"{part}.svg"
    script = [python_of("plots"), HERE / "plots.py"]
    subprocess.run([*script, part, BENCH / f"{part}.json", file], check=True)
    return f"![{title}]({file.relative_to(ROOT).as_posix()})"


def publish(part: str, lines: Sequence[str], *, threads: int, load: float | None) -> None:
    """Print a part's report, and replace the one in BENCHMARKS.md; the date and the machine come first."""
    busy = "" if load is None else f" The load average before it began was {load:.1f}."
    report = "\n".join([f"{datetime.now(UTC):%Y-%m-%d}. {describe()}; {threads} threads.{busy}", *lines])
    print(report, flush=True)
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, begin_mark, rest = BENCHMARKS.read_text(encoding="utf-8").partition(begin)
    _, end_mark, after = rest.partition(end)
    if not (begin_mark and end_mark):
        raise SystemExit(f"{BENCHMARKS.name} has no place for {part}: {begin} … {end}")
    BENCHMARKS.write_text(f"{before}{begin}\n{report}\n{end}{after}", encoding="utf-8")
