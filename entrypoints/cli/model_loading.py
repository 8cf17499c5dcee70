"""Load a model for a command and show the progress."""

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from litgpt.cli import console

if TYPE_CHECKING:
    from litgpt.application.load_model import LoadedModel
    from litgpt.domain.ports import PlacedModel
    from litgpt.domain.progress import Notice, Progress, Reporter
    from litgpt.domain.reference import ModelReference
    from litgpt.llm import LLM


class DistributeArguments(NamedTuple):
    """The keyword arguments of `LLM.distribute`."""

    accelerator: str
    precision: str | None
    quantize: str | None
    devices: int | None
    generate_strategy: str | None
    engine: str | None
    kv_cache: str | None


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Load a model without collecting garbage, which takes a tenth of the time and finds none."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # later collections do not search what was loaded either
        gc.enable()


@without_garbage_collection()
def load_model(
    reference: "ModelReference", arguments: DistributeArguments, *, draft: str | None, quiet: bool
) -> "LLM":
    """Load a model, and a draft model if it has a name, and distribute them over the devices."""
    from litgpt.container import container
    from litgpt.llm import LLM

    with StatusLine(f"Loading {reference.name} …", quiet=quiet) as work:
        import_numpy()
        loaded = container.load_model()(reference, draft=None if draft is None else reference.draft(draft))
        llm = LLM(loaded, work.report, container.services())
        try:
            llm.distribute(**_given(arguments))
        except BaseException:
            llm.close()
            raise
        return llm


def load_adapters(llm: "LLM", paths: Mapping[str, str]) -> None:
    """Load LoRA adapters by name, of which none is active."""
    for name, path in paths.items():
        llm.load_adapter(path, name)
    if paths:
        llm.set_adapter(None)


@contextmanager
def load_placed(
    reference: "ModelReference", arguments: DistributeArguments, *, draft: str | None, quiet: bool
) -> "Iterator[tuple[LoadedModel[Any], PlacedModel[Any]]]":
    """Load and place models as `load_model` does, for a use case; they are released after the block."""
    from litgpt.container import container
    from litgpt.domain.distribution.placement import DistributeOptions

    options = DistributeOptions(**_given(arguments))
    with without_garbage_collection(), StatusLine(f"Loading {reference.name} …", quiet=quiet) as work:
        import_numpy()
        loaded = container.load_model()(reference, draft=None if draft is None else reference.draft(draft))
        place = container.place_model()
        place.check(loaded, options)
        loaded, placed = place(loaded, options, work.report)
    try:
        yield loaded, placed
    finally:
        placed.close()
        loaded.close()


def import_numpy() -> None:
    """Import NumPy with one thread for its matrix products, unless the user has set their number.

    The threads of OpenBLAS poll for work as soon as they start, for a tenth of a second of processor time,
    while the model is loaded on the same cores. No command multiplies large arrays in NumPy.
    """
    if _BLAS_THREADS in os.environ:
        return
    os.environ[_BLAS_THREADS] = "1"
    try:
        import numpy  # noqa: F401, ICN001
    finally:
        del os.environ[_BLAS_THREADS]  # torch has an OpenBLAS of its own on some processors


_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def _given(arguments: DistributeArguments) -> "dict[str, Any]":
    return {name: value for name, value in arguments._asdict().items() if value is not None}


class StatusLine(console.TransientLine):
    """A status line that makes way for the notices and progress bars of an operation."""

    def __init__(self, text: str, *, quiet: bool) -> None:
        from litgpt.domain.progress import null_reporter
        from litgpt.progress_report import default_reporter

        self._shows = default_reporter(quiet or None, console.note)
        super().__init__(text, quiet=self._shows is null_reporter)

    @property
    def report(self) -> "Reporter":
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
            self.text = ""  # replaced by the progress bar of the training
        elif event.completed >= event.total:
            self.show()
