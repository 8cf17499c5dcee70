"""Measure this library's scores of HellaSwag's endings."""

import json
import time
from argparse import ArgumentParser
from pathlib import Path

from litgpt import LLM


def main() -> None:
    """Print the measurements."""
    parser = ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rows", type=Path, required=True, help="JSON: for each row, a context and endings")
    parser.add_argument("--part", type=int, nargs=2, help="of the rows")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    rows = json.loads(arguments.rows.read_text(encoding="utf-8"))[slice(*arguments.part)]
    llm = LLM.load(arguments.model, quiet=True)
    llm.score(rows[0]["context"], rows[0]["endings"])  # warm
    start = time.perf_counter()
    scores = llm.score([it["context"] for it in rows], [it["endings"] for it in rows])
    seconds = time.perf_counter() - start
    logprobs = [[it.logprob for it in row] for row in scores]
    print(json.dumps({"seconds": seconds, "logprobs": logprobs, "labels": [it["label"] for it in rows]}))


if __name__ == "__main__":
    main()
