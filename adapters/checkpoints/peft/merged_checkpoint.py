"""Open an adapter folder as its base model with the adapter merged."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.files.atomic_folder import check_not_interrupted
from litgpt.adapters.checkpoints.files.file_checks import existing_paths
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
from litgpt.domain.lora.config import LoraAdapter
from litgpt.domain.ports import Checkpoint, ModelStore, TensorSource
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import has_tokenizer_files
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_info import DType, TensorInfo

if TYPE_CHECKING:
    import torch


@attrs.frozen
class MergedTensors:
    """The tensors of a base model with a LoRA adapter merged into them, and a head that the adapter unties.

    Each tensor is merged when it is read, so the merged model can be quantized, sharded or converted like any
    other. Changed tensors are copies; the others are views of their files.
    """

    _base: "TensorSource[torch.Tensor]"
    _merge: MergePlan = attrs.field(repr=False)
    tensors: Mapping[str, TensorInfo] = attrs.field(init=False, repr=False)

    @tensors.default
    def _infos(self) -> Mapping[str, TensorInfo]:
        return self._merge.merged_infos(self._base.tensors)

    def fetch(self, report: Reporter) -> None:
        self._base.fetch(report)

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a merged tensor; the update is added in float32 and rounded once."""
        import torch

        if self._is_unchanged(name):
            return self._base.read(name, dtype)
        merge = self._merge
        replacement, updates = merge.replaced.get(name), merge.updates.get(name, [])
        source = merge.head[1] if merge.head is not None and name == merge.head[0] else name
        merged = stored = self._base.read(source) if replacement is None else replacement
        for update in updates:
            merged = update(merged.float())
        return merged.to(stored.dtype if dtype is None else getattr(torch, dtype))

    def raw(self, name: str) -> RawTensor | None:
        return self._base.raw(name) if self._is_unchanged(name) else None

    def _is_unchanged(self, name: str) -> bool:
        merge = self._merge
        return name not in merge.replaced and not merge.updates.get(name) and name in self._base.tensors

    def close(self) -> None:
        self._base.close()


def _merged(
    name: str, folder: Path, adapter: "LoraAdapter[torch.Tensor]", base: "Checkpoint[torch.Tensor]"
) -> "Checkpoint[torch.Tensor]":
    """Return the base model with the adapter in a folder merged; the folder's small files take precedence."""
    plan = plan_merge(name, adapter, base.config, base.tensors)
    tokenizer = tokenizer_files(folder)
    return attrs.evolve(
        base,
        name=name,
        origin=f"the adapter {folder} on {base.origin}",
        folder=folder,
        path=folder,
        config=plan.merged_config(base.config, base.tensors),
        generation_config=read_optional_json(folder / "generation_config.json") or base.generation_config,
        prompt_style=read_prompt_style(folder) or base.prompt_style,
        notes=(*base.notes, f"the adapter is merged into {base.origin}."),
        read_tokenizer=(lambda: tokenizer) if has_tokenizer_files(tokenizer.paths) else base.read_tokenizer,
        source=MergedTensors(base.source, plan),
    )


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
        adapter = read_adapter(folder)
        if adapter.base_model is None:
            raise InvalidCheckpoint(
                f"{folder / CONFIG_FILE} does not name its base model (base_model_name_or_path). "
                "Load the base model, then the adapter with llm.load_adapter()."
            )
        base = self._base(folder, adapter.base_model, adapter.revision, reference)
        try:
            return _merged(reference.name, folder, adapter, base)
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
