"""`python -m litgpt.worker N`: a process that computes one rank of a model, started by the library."""

import json
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from litgpt.adapters.pytorch.parallel.serving import serve

if TYPE_CHECKING:  # an import that fails is an error to be said to who started this
    from litgpt.adapters.pytorch.parallel.commands import Commands


def main() -> None:
    """Do what the process that started this one says by socket N, which was inherited, until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Connection(int(sys.argv[1]))
    os.set_inheritable(line.fileno(), False)
    try:
        call: dict[str, Any] = json.loads(line.recv_bytes())
    except EOFError:
        return

    def build() -> "Commands":
        from litgpt.adapters.pytorch.tensor_parallel import build_rank
        from litgpt.container import container
        from litgpt.domain.families import understand
        from litgpt.domain.reference import ModelReference

        checkpoint = container.store().open(ModelReference(call["model"], offline=True))
        found = understand(call["name"], checkpoint.config, checkpoint.tensors)
        if not call["tied"]:
            found = found.untied()
        return build_rank(call, found.architecture, found.joins, checkpoint)

    serve(line, call, build)


if __name__ == "__main__":
    main()
