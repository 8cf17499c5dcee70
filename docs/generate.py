"""Write the README's tables that come from the code: `python docs/generate.py`; `--check` only compares."""

import sys
from itertools import groupby
from pathlib import Path

from litgpt.domain.catalogue import known
from litgpt.domain.families import FAMILIES

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- families: begin -->\n", "<!-- families: end -->"
EXAMPLES = 6


def families() -> str:
    """Return the table of families, with some well-known repositories of each."""
    lines = ["| `model_type` | for example |", "| --- | --- |"]
    for model_type in FAMILIES:
        ours = [one for one in known() if one.family == model_type]
        # One of each organisation first, so that a long series does not hide the rest.
        by_organisation = [
            list(group) for _, group in groupby(ours, lambda one: one.repository.partition("/")[0])
        ]
        examples = [group[0].repository for group in by_organisation][:EXAMPLES]
        lines.append(f"| {model_type} | {', '.join(examples)} |")
    return "".join(f"{line}\n" for line in lines)


def up_to_date(readme: str) -> str:
    """Return the README with its tables as the code has them."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{families()}{END}{after}"


def main() -> int:
    """Write, or with `--check` only compare; return 1 if they differ."""
    readme = README.read_text(encoding="utf-8")
    wanted = up_to_date(readme)
    if "--check" in sys.argv[1:]:
        return int(readme != wanted)
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
