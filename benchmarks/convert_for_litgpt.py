"""Convert the checkpoint with LitGPT's own converter, in its environment: `convert_for_litgpt.py FROM TO`.

The name of the folder tells LitGPT which model it is. It is called by the base model's name, with which
LitGPT puts no words of its own around a prompt.
"""

import os
import sys
from pathlib import Path

from litgpt.scripts.convert_hf_checkpoint import convert_hf_checkpoint


def main(source: Path, target: Path) -> None:
    """Write `lit_model.pth` beside links to the rest."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        link = target / file.name
        if not link.exists():
            os.link(file, link)
    convert_hf_checkpoint(target, dtype="bfloat16")


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:3]))
