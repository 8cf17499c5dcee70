"""Loading a model for a command, with something to look at meanwhile."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from litgpt.cli import console

if TYPE_CHECKING:
    from litgpt.domain.progress import Notice, Progress, Reporter
    from litgpt.domain.reference import ModelReference
    from litgpt.llm import LLM


class DistributeArguments(NamedTuple):
    """The placement options of a command, as `LLM.distribute` takes them."""

    accelerator: str
    precision: str | None
    quantize: str | None
    devices: int | Literal["auto"]
    generate_strategy: str | None


def load_model(reference: "ModelReference", arguments: DistributeArguments, *, quiet: bool) -> "LLM":
    """Load a model and place it, ready to generate.

    It is found and checked before torch is imported, which takes seconds: a misspelt name is answered at
    once.
    """
    from litgpt.container import container

    with StatusLine(f"Loading {reference.name} …", quiet=quiet) as work:
        found = container.load_model()(reference)
        from litgpt.llm import LLM

        llm = LLM(found, work.report)
        try:
            how: dict[str, Any] = arguments._asdict()
            llm.distribute(**how)
        except BaseException:
            llm.close()
            raise
    return llm


class StatusLine(console.TransientLine):
    """Something that takes its time: a line while nothing else is known of it, notices, and bars.

    Args:
        text: What is being done.
        quiet: Whether to show nothing; LITGPT_QUIET asks for the same.

    """

    def __init__(self, text: str, *, quiet: bool) -> None:
        from litgpt.domain.progress import null_reporter
        from litgpt.progress_report import default_reporter

        self._shows = default_reporter(quiet or None, console.note)
        super().__init__(text, quiet=self._shows is null_reporter)

    @property
    def report(self) -> "Reporter":
        """What the work tells how far it is."""
        return self._report

    def _report(self, event: "Notice | Progress") -> None:
        from litgpt.domain.progress import Notice

        if self.is_quiet:
            return
        self.hide()
        self._shows(event)
        if isinstance(event, Notice):
            self.show()
        elif event.unit == "steps":
            self.text = ""  # the bar of the training takes its place
        elif event.completed >= event.total:
            self.show()
