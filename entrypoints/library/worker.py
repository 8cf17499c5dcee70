"""`python -m litgpt.worker`: a process that computes one rank of a model, started by the library."""

import json
import sys
from typing import Any


def main() -> None:
    """Do what the process that started this one says on stdin, until it is gone."""
    line = sys.stdin.buffer.readline()
    if not line:
        return
    call: dict[str, Any] = json.loads(line)
    from litgpt.adapters.pytorch.parallel.commands import Commands
    from litgpt.adapters.pytorch.parallel.serving import serve

    def build() -> Commands:
        from litgpt.adapters.pytorch.tensor_parallel import build_rank
        from litgpt.container import container
        from litgpt.domain.families import understand
        from litgpt.domain.reference import ModelReference

        checkpoint = container.store().open(ModelReference(call["model"], offline=True))
        found = understand(call["name"], checkpoint.config, checkpoint.tensors)
        if not call["tied"]:
            found = found.untied()
        return build_rank(call, found.architecture, found.joins, checkpoint)

    serve(call, build)


if __name__ == "__main__":
    main()
