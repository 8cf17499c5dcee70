"""`python -m litgpt.worker N`: a process that computes one rank of a model, started by the library."""

import json
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from litgpt.adapters.pytorch.distribution.tensor_parallel.worker_loop import run_worker_loop

if TYPE_CHECKING:  # import errors must be reported to the parent process
    from litgpt.adapters.pytorch.distribution.tensor_parallel.rpc import CommandExecutor


def main() -> None:
    """Execute commands of the parent process from the inherited socket N until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Connection(int(sys.argv[1]))
    os.set_inheritable(line.fileno(), False)
    try:
        call: dict[str, Any] = json.loads(line.recv_bytes())
    except EOFError:
        return

    def build() -> "CommandExecutor":
        from litgpt.adapters.pytorch.distribution.tensor_parallel.strategy import build_rank
        from litgpt.container import container
        from litgpt.domain.families import resolve_model
        from litgpt.domain.reference import ModelReference

        checkpoint = container.store().open(ModelReference(call["model"], offline=True))
        found = resolve_model(call["name"], checkpoint.config, checkpoint.tensors)
        if not call["tied"]:
            found = found.untied()
        return build_rank(call, found.architecture, found.sources, checkpoint)

    run_worker_loop(line, call, build)


if __name__ == "__main__":
    main()
