"""`python -m litgpt.cli.batches.worker`: the process of one device, which `litgpt batch --devices N` starts.

Its stdin has the job, and then the lines to be answered, each after its number. It writes messages in JSON to
stdout: the type of its device when the model is loaded, each output with the counts so far, or an error. Its
argument is the descriptor of a pipe that the parent process holds open: it ends with that process.
"""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from litgpt.cli.device_processes.child import Sender, run_child

if TYPE_CHECKING:
    from litgpt.application.batch.lines import BatchLine


def main() -> None:
    """Answer lines until stdin is closed."""
    run_child(_answer)


def _answer(send: Sender) -> None:
    import attrs

    from litgpt.application.batch.run_batch import RunBatch
    from litgpt.application.files.ready_lines import ready_lines
    from litgpt.cli.chat_template_options import warnings_as_notes
    from litgpt.cli.model_loading import DistributeArguments, load_placed
    from litgpt.container import container
    from litgpt.domain.reference import ModelReference

    run: RunBatch | None = None
    stdin = ready_lines(sys.stdin.buffer, lambda: run is None or not run.is_answering)
    job: dict[str, Any] = json.loads(next((it for it in stdin if it is not None), b"null"))
    if not job:  # the parent process is gone
        return
    reference, placement = ModelReference(**job["reference"]), DistributeArguments(**job["placement"])

    def write(output: Mapping[str, Any]) -> None:
        assert run is not None  # noqa: S101 - it calls this function
        send({"output": output, "counts": attrs.asdict(run.counts)})

    with (
        load_placed(reference, placement, draft=job["draft"], quiet=job["quiet"]) as (loaded, placed),
        warnings_as_notes(quiet=job["quiet"]),
    ):
        send({"device": placed.placement.device.partition(":")[0]})
        compiler = container.constraint_compiler()
        run = RunBatch(
            loaded,
            placed.generator(),
            write,
            compiler,
            defaults=job["defaults"],
            sys_prompt=job["sys_prompt"],
        )
        for _ in run(map(_parse, stdin)):
            pass


def _parse(raw: bytes | None) -> "BatchLine | None":
    from litgpt.application.batch.lines import BatchLine

    if raw is None:
        return None
    number, _, line = raw.partition(b" ")
    return BatchLine.parse(int(number), line)


if __name__ == "__main__":
    main()
