"""Open an adapter folder as its base model with the adapter merged."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.files.atomic_folder import check_not_interrupted
from litgpt.adapters.checkpoints.files.file_checks import existing_paths
from litgpt.adapters.checkpoints.peft.folder_files import CONFIG_FILE, is_adapter
from litgpt.domain.errors import (
    HubUnreachable,
    InvalidArgument,
    InvalidCheckpoint,
    LitGPTError,
    MissingFile,
    ModelNotFound,
    UnsafeFile,
)
from litgpt.domain.ports import Checkpoint, ModelStore
from litgpt.domain.reference import ModelReference

if TYPE_CHECKING:
    import torch

# The modules that read and merge adapters are imported when there is one.


@attrs.frozen
class LoraStore:
    """Opens the models of other stores, and adapter folders with their base model.

    Attributes:
        root: The folder in which names that are not paths are looked up.
        fetch_adapter: Downloads an adapter from the Hub and returns its folder; None disables this.
    """

    stores: "ModelStore[torch.Tensor]"
    root: Path = Path("checkpoints")
    fetch_adapter: Callable[[ModelReference], Path] | None = None

    @property
    def location(self) -> str:
        return self.stores.location

    def names(self) -> Iterator[str]:
        yield from self.stores.names()

    def open(self, reference: ModelReference) -> "Checkpoint[torch.Tensor]":
        """Open a model, or an adapter merged into its base model.

        Raises:
            ModelNotFound: The model, or the base model of the adapter, does not exist.
            InvalidArgument: A revision was requested for an adapter on disk.
            InvalidCheckpoint: The adapter does not fit its base model, or does not name it.
        """
        folder = self._find(reference.name)
        if folder is None:
            try:
                return self.stores.open(reference)
            except (MissingFile, UnsafeFile, HubUnreachable) as error:
                folder = self._fetched(reference, error)
        elif reference.revision is not None:
            expected = (
                f"omitted for an adapter on disk ({folder}), which names the revision of its base model"
            )
            raise InvalidArgument("revision", reference.revision, expected)
        from litgpt.adapters.checkpoints.peft.adapter_folder import read_adapter
        from litgpt.adapters.checkpoints.peft.merged_checkpoint import merged_checkpoint

        adapter = read_adapter(folder)
        if adapter.base_model is None:
            raise InvalidCheckpoint(
                f"{folder / CONFIG_FILE} does not name its base model (base_model_name_or_path). "
                "Load the base model, then the adapter with llm.load_adapter()."
            )
        base = self._base(folder, adapter.base_model, adapter.revision, reference)
        try:
            return merged_checkpoint(reference.name, folder, adapter, base)
        except BaseException:
            base.close()
            raise

    def _base(
        self, folder: Path, name: str, revision: str | None, reference: ModelReference
    ) -> "Checkpoint[torch.Tensor]":
        if self._is_on_disk(name):
            revision = None  # local models have no revisions
        try:
            return self.stores.open(attrs.evolve(reference, name=name, revision=revision))
        except ModelNotFound as error:
            hint = f"It is the base model of the adapter {folder}. {error.hint}".strip()
            raise ModelNotFound(name, error.searched, error.similar, hint) from error

    def _fetched(self, reference: ModelReference, error: LitGPTError) -> Path:
        """Return the folder of an adapter on the Hub if no model was found; otherwise raise `error`."""
        if self.fetch_adapter is None or self._is_on_disk(reference.name):
            raise error
        if isinstance(error, HubUnreachable):
            reference = attrs.evolve(reference, offline=True)  # do not contact the Hub again
        try:
            return self.fetch_adapter(reference)
        except LitGPTError:
            raise error from None

    def _is_on_disk(self, name: str) -> bool:
        return any(existing_paths(name, self.root))

    def _find(self, name: str) -> Path | None:
        try:
            folder = next(filter(is_adapter, existing_paths(name, self.root)), None)
        except OSError:  # it is not readable; opening it as a model reports the error
            return None
        if folder is not None:
            check_not_interrupted(folder)
        return folder
