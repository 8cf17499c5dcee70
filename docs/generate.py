"""Write the generated parts of the documents: `python docs/generate.py`; `--check` only compares."""

import sys
from itertools import groupby
from pathlib import Path

from litgpt.application.openai.description.tables import field_tables
from litgpt.domain.catalogue import search
from litgpt.domain.families import FAMILIES

ROOT = Path(__file__).parent.parent
EXAMPLES = 6
BENCHMARKS = ("first token, 512-token prompt, ms", "decode, tokens/s", "peak memory, MB")


def families() -> str:
    """Return the table of families, with some well-known repositories of each."""
    lines = ["| `model_type` | examples |", "| --- | --- |"]
    for model_type in FAMILIES:
        entries = [entry for entry in search() if entry.family == model_type]
        # The first of each organization, so that a long series does not hide the others.
        by_organization = [
            list(group) for _, group in groupby(entries, lambda entry: entry.repository.partition("/")[0])
        ]
        examples = [group[0].repository for group in by_organization][:EXAMPLES]
        lines.append(f"| {model_type} | {', '.join(examples)} |")
    return "".join(f"{line}\n" for line in lines)


def benchmarks() -> str:
    """Return the header and three rows of the first table of BENCHMARKS.md."""
    lines = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8").splitlines(keepends=True)
    header = next(number for number, line in enumerate(lines) if line.startswith("|  |"))
    rows = [next(line for line in lines if line.startswith(f"| {name} |")) for name in BENCHMARKS]
    return "".join([*lines[header : header + 2], *rows])


GENERATED = (
    ("docs/models.md", "families", families),
    ("docs/openai-api.md", "fields", field_tables),
    ("README.md", "benchmarks", benchmarks),
)


def main() -> int:
    """Write, or with `--check` only compare; return 1 if they differ."""
    differs = False
    for name, mark, table in GENERATED:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->"
        before, _, rest = text.partition(begin)
        wanted = f"{before}{begin}{table()}{end}{rest.partition(end)[2]}"
        differs |= text != wanted
        if "--check" not in sys.argv[1:]:
            path.write_text(wanted, encoding="utf-8")
    return int(differs and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
