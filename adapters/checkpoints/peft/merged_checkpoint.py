"""The folder of an adapter, opened as the model that it makes of its base."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.files.atomic_folder import check_not_interrupted
from litgpt.adapters.checkpoints.hf.config_files import read_optional_json, read_prompt_style, tokenizer_files
from litgpt.adapters.checkpoints.peft.adapter_folder import CONFIG_FILE, is_adapter, read_adapter
from litgpt.adapters.checkpoints.peft.merge import MergePlan, plan_merge
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
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerSource, has_tokenizer_files
from litgpt.domain.weights.tensor_info import DType, TensorInfo

if TYPE_CHECKING:
    import torch


@attrs.define
class LoraMergedCheckpoint:
    """A model with what an adapter adds to it: each tensor is changed as it is read, one at a time.

    So whatever can be done with a model can be done with this one: quantized, split, converted. The tensors
    that change are copies; the others are views of their files as they were.
    """

    name: str
    folder: Path
    _base: "Checkpoint[torch.Tensor]"
    _merge: MergePlan = attrs.field(repr=False)

    @property
    def origin(self) -> str:
        """Where it is, in words."""
        return f"the adapter {self.folder} on {self._base.origin}"

    @property
    def path(self) -> Path:
        """The folder of the adapter."""
        return self.folder

    @property
    def config(self) -> Mapping[str, object]:
        """The base's; the vocabulary may have another size, and the head may no longer be the embedding."""
        return self._merge.merged_config(self._base.config, self._base.tensors)

    @property
    def generation_config(self) -> Mapping[str, object]:
        """That which was saved with the adapter; otherwise the base's."""
        return read_optional_json(self.folder / "generation_config.json") or self._base.generation_config

    @property
    def prompt_style(self) -> str | None:
        """The adapter's, if one was saved with it; otherwise the base's."""
        return read_prompt_style(self.folder) or self._base.prompt_style

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever loads it should be told: what it is made of."""
        return (*self._base.notes, f"it is {self._base.origin}, with the adapter merged into it.")

    @property
    def tokenizer(self) -> TokenizerSource:
        """The one that was saved with the adapter; otherwise the base's."""
        own = tokenizer_files(self.folder)
        return own if has_tokenizer_files(own.paths) else self._base.tokenizer

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor that the base has, by name, and a head that is no longer the embedding."""
        return self._merge.merged_infos(self._base.tensors)

    def fetch(self, report: Reporter) -> None:
        """Bring the weights of the base to this machine."""
        self._base.fetch(report)

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor of the base, with what the adapter adds to it: added in float32, rounded once."""
        import torch

        merge = self._merge
        whole, changes = merge.replaced.get(name), merge.updates.get(name, [])
        if whole is None and not changes and name in self._base.tensors:
            return self._base.read(name, dtype)
        embedding = merge.head[1] if merge.head is not None and name == merge.head[0] else name
        made = stored = self._base.read(embedding) if whole is None else whole
        for change in changes:
            made = change(made.float())
        return made.to(stored.dtype if dtype is None else getattr(torch, dtype))

    def close(self) -> None:
        """Let go of the base's files."""
        self._base.close()


@attrs.frozen
class LoraStore:
    """Opens what other stores have, and folders of adapters for it.

    Attributes:
        stores: Where models are.
        root: Where names are looked for that are no paths.
        fetch_adapter: Returns a folder with the adapter that a Hub has by a name; None asks no Hub.

    """

    stores: "ModelStore[torch.Tensor]"
    root: Path = Path("checkpoints")
    fetch_adapter: Callable[[ModelReference], Path] | None = None

    @property
    def location(self) -> str:
        """Where the stores look, in words."""
        return self.stores.location

    def names(self) -> Iterator[str]:
        """Yield the names that the stores have."""
        yield from self.stores.names()

    def open(self, reference: ModelReference) -> "Checkpoint[torch.Tensor]":
        """Open a model, or the model that an adapter makes of its base.

        Raises:
            ModelNotFound: Nobody has it, or the base of it.
            BadArgument: It is an adapter, and a revision was asked for.
            BadCheckpoint: The adapter is for another model than the one that it names.
            LitGPTError: What the stores say, and what is wrong with an adapter.

        """
        folder = self._find(reference.name)
        if folder is None:
            try:
                return self.stores.open(reference)
            except (MissingFile, UnsafeFile, HubUnreachable) as error:
                folder = self._fetched(reference, error)
        elif reference.revision is not None:
            expected = f"left out for an adapter on disk ({folder}), which says itself of its base's"
            raise InvalidArgument("revision", reference.revision, expected)
        adapter = read_adapter(folder)
        if adapter.base_model is None:
            raise InvalidCheckpoint(
                f"{folder / CONFIG_FILE} does not name its base model (base_model_name_or_path). "
                "Load the model and then the adapter: llm.load_adapter()."
            )
        base = self._base(folder, adapter.base_model, adapter.revision, reference)
        try:
            made = plan_merge(reference.name, adapter, base.config, base.tensors)
        except BaseException:
            base.close()
            raise
        return LoraMergedCheckpoint(reference.name, folder, base, made)

    def _base(
        self, folder: Path, name: str, revision: str | None, reference: ModelReference
    ) -> "Checkpoint[torch.Tensor]":
        if self._is_on_disk(name):
            revision = None  # nothing on disk has one
        try:
            return self.stores.open(attrs.evolve(reference, name=name, revision=revision))
        except ModelNotFound as error:
            hint = f"The adapter {folder} is for it. {error.hint}".strip()
            raise ModelNotFound(name, error.searched, error.similar, hint) from error

    def _fetched(self, reference: ModelReference, error: LitGPTError) -> Path:
        """Return the folder of an adapter on the Hub, of which there is no model; else raise the error."""
        if self.fetch_adapter is None or self._is_on_disk(reference.name):
            raise error
        if isinstance(error, HubUnreachable):
            reference = attrs.evolve(reference, offline=True)  # it is not asked again
        try:
            return self.fetch_adapter(reference)
        except LitGPTError:
            raise error from None

    def _is_on_disk(self, name: str) -> bool:
        try:
            return any(path.expanduser().exists() for path in (Path(name), self.root / name))
        except (OSError, RuntimeError):
            return False

    def _find(self, name: str) -> Path | None:
        for path in (Path(name), self.root / name):
            try:
                found = path.expanduser()
                if is_adapter(found):
                    break
            except (OSError, RuntimeError):
                continue  # no such name is possible here
        else:
            return None
        check_not_interrupted(found)
        return found
