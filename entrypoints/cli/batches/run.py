"""What answers the lines of a batch: the model in this process, or a process per device."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.cli.model_loading import DistributeArguments, load_placed

if TYPE_CHECKING:
    from litgpt.application.batch.run_batch import RunBatch
    from litgpt.application.files.json_lines import JsonLinesOutput
    from litgpt.cli.batches.processes import DeviceProcesses
    from litgpt.domain.reference import ModelReference


@attrs.frozen(kw_only=True)
class BatchJob:
    """The model and the options of a batch.

    Attributes:
        draft: The name of a draft model.
        defaults: The options that lines do not set.
    """

    reference: "ModelReference"
    placement: DistributeArguments
    draft: str | None
    defaults: Mapping[str, Any]
    sys_prompt: str | None
    quiet: bool

    @contextmanager
    def start(self, answers: "JsonLinesOutput", total: int | None) -> "Iterator[RunBatch | DeviceProcesses]":
        """Load the model, once or on each device; it is released after the block.

        Args:
            answers: Gets the outputs of lines.
            total: The number of lines; None: unknown.
        """
        devices = self.placement.devices or 1
        if devices > 1 and self.placement.generate_strategy is None:
            from litgpt.cli.batches.processes import DeviceProcesses

            job = {**attrs.asdict(self), "placement": self.placement._replace(devices=1)._asdict()}
            with DeviceProcesses(job, devices, answers.write, answers.done, total) as processes:
                yield processes
            return
        from litgpt.application.batch.run_batch import RunBatch
        from litgpt.container import container

        with load_placed(self.reference, self.placement, draft=self.draft, quiet=self.quiet) as (
            loaded,
            placed,
        ):
            yield RunBatch(
                loaded,
                placed.generator(),
                answers.write,
                container.constraint_compiler(),
                answers.done,
                self.defaults,
                self.sys_prompt,
            )
