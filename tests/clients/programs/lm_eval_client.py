"""lm-eval's `local-completions`: the log-probabilities of a task, through `echo` and `logprobs`.

It prints them as JSON, as [context, continuation, log-probability, whether each token is the likeliest].
"""

import json
import os
import tempfile
from pathlib import Path

from context import CONTEXT, KEY, MODEL, URL

os.environ["OPENAI_API_KEY"] = KEY

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

TASK = """
task: goals
dataset_path: json
dataset_kwargs:
  data_files:
    validation: {rows}
validation_split: validation
output_type: multiple_choice
doc_to_text: "Question: {{{{goal}}}}\\nAnswer:"
doc_to_target: label
doc_to_choice: "{{{{[sol1, sol2]}}}}"
metric_list:
  - metric: acc
"""


def main() -> None:
    """Evaluate the task and print its log-probabilities."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.jsonl"
        rows.write_text("\n".join(map(json.dumps, CONTEXT["rows"])), encoding="utf-8")
        (folder / "goals.yaml").write_text(TASK.format(rows=rows), encoding="utf-8")
        found = simple_evaluate(
            model="local-completions",
            model_args={
                "base_url": f"{URL}/completions",
                "model": MODEL,
                "tokenizer": CONTEXT["folder"],
                "max_retries": 1,
                "max_length": 2048,
                "tokenized_requests": CONTEXT["tokenized"],
            },
            tasks=["goals"],
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
            batch_size=2,
            log_samples=True,
        )
    samples = found["samples"]["goals"]
    pairs = [
        [argument[0], argument[1], *response[0]]
        for sample in samples
        for argument, response in zip(sample["arguments"], sample["resps"], strict=True)
    ]
    print("RESULT", json.dumps({"acc": found["results"]["goals"]["acc,none"], "pairs": pairs}))  # noqa: T201


main()
