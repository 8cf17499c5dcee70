"""Measure lm-eval's HFLM, which scores HellaSwag's endings, and prepare the rows as lm-eval's task does."""

import json
import re
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

BATCH = 16


def main() -> None:
    """Print the measurements, or prepare rows."""
    parser = ArgumentParser()
    parser.add_argument("model", help="a bf16 folder; with --prepare, HellaSwag in Arrow's stream format")
    parser.add_argument("--rows", type=Path, required=True, help="JSON: for each row, a context and endings")
    parser.add_argument("--prepare", type=int, default=0, help="write so many rows instead")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--part", type=int, nargs=2, help="of the rows")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.prepare:
        found = [row_of(it) for it in read(arguments.model, arguments.prepare)]
        arguments.rows.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return
    rows = json.loads(arguments.rows.read_text(encoding="utf-8"))[slice(*arguments.part)]
    measure(arguments.model, rows, arguments)


def read(file: str, count: int) -> list[dict[str, Any]]:
    """Return the first rows of the data set."""
    import pyarrow as pa

    with pa.memory_map(file) as source, pa.ipc.open_stream(source) as stream:
        table: list[dict[str, Any]] = stream.read_all().slice(0, count).to_pylist()
    return table


def row_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as lm-eval's task `hellaswag` passes it to a model."""
    context = clean(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")
    endings = [f" {clean(it)}" for it in row["endings"]]
    return {"context": context, "endings": endings, "label": int(row["label"])}


def clean(text: str) -> str:
    """Remove the marks of WikiHow."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def measure(model: str, rows: list[dict[str, Any]], arguments: Any) -> None:
    """Print the time and the log-probabilities."""
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(arguments.threads)
    lm = HFLM(pretrained=model, device="cpu", dtype=arguments.dtype, batch_size=BATCH)

    def score(some: list[dict[str, Any]]) -> list[list[float]]:
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=(row["context"], ending), idx=at)
            for row in some
            for at, ending in enumerate(row["endings"])
        ]
        scores = iter(lm.loglikelihood(requests, disable_tqdm=True))
        return [[next(scores)[0] for _ in row["endings"]] for row in some]

    score(rows[:1])  # warm
    start = time.perf_counter()
    logprobs = score(rows)
    print(json.dumps({"seconds": time.perf_counter() - start, "logprobs": logprobs}))


if __name__ == "__main__":
    main()
