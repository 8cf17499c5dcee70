"""Generate an answer for each of many JSON schemas, and validate it with jsonschema.

    git clone https://github.com/guidance-ai/jsonschemabench
    python benchmarks/json_schemas.py jsonschemabench/maskbench/data

Each schema is either refused before anything is computed, or the answer is valid, or cut off by the maximum
number of tokens. Anything else is a fault, and the exit status is 1.
"""

import argparse
import json
import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jsonschema.validators import validator_for

from litgpt import LLM
from litgpt.errors import InvalidArgument

FAULTS = ("invalid", "error")


def read_schema(path: Path) -> Any:
    """Return the schema of a file, which may be in a field `schema` beside examples."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["schema"] if isinstance(content, dict) and "schema" in content else content


def outcome(llm: LLM, schema: Any, max_new_tokens: int) -> tuple[str, str]:
    """Return `valid`, `refused`, `cut off`, `invalid` or `error`, and the reason or the text."""
    options: dict[str, Any] = {"temperature": 0.7, "seed": 1, "max_new_tokens": max_new_tokens}
    try:
        completion = llm.complete("Write an example in JSON.", schema=schema, **options)
    except InvalidArgument as error:
        return "refused", str(error)
    except Exception as error:  # noqa: BLE001 - any other is a fault
        return "error", f"{type(error).__name__}: {error}"
    if completion.finish_reason != "stop":
        return "cut off", completion.text
    validator = validator_for(schema)(schema, format_checker=validator_for(schema).FORMAT_CHECKER)
    try:
        validator.validate(json.loads(completion.text))
    except Exception as error:  # noqa: BLE001 - of the validator, or for a text that is not JSON
        reason = getattr(error, "message", str(error))
        return "invalid", f"{type(error).__name__}: {reason} in {completion.text}"
    return "valid", completion.text


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="JSON files with schemas")
    parser.add_argument("--count", type=int, default=500, help="the number of schemas, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--max-new-tokens", type=int, default=300)
    parser.add_argument("--threads", type=int, default=16, help="the number of schemas at a time")
    parser.add_argument("--report", type=Path, help="a file of JSON lines for the outcomes")
    args = parser.parse_args()
    paths = sorted(args.folder.rglob("*.json"))
    paths = random.Random(args.seed).sample(paths, min(args.count, len(paths)))
    counts: Counter[str] = Counter()
    lines = []
    with LLM.load(args.model, quiet=True) as llm, ThreadPoolExecutor(args.threads) as pool:
        schemas = map(read_schema, paths)
        found = pool.map(lambda schema: outcome(llm, schema, args.max_new_tokens), schemas)
        for path, (result, detail) in zip(paths, found, strict=True):
            counts[result] += 1
            lines.append(json.dumps({"name": path.name, "outcome": result, "detail": detail}))
            if result in FAULTS:
                print(f"{path.name}: {result}: {detail[:300]}", flush=True)
            if args.report:
                args.report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(", ".join(f"{count} {result}" for result, count in counts.most_common()))
    return int(any(counts[fault] for fault in FAULTS))


if __name__ == "__main__":
    sys.exit(main())
