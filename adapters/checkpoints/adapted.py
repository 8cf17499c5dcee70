"""The folder of an adapter, opened as the model that it makes of its base."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.peft_folder import CONFIG, is_adapter, read_adapter
from litgpt.adapters.checkpoints.small_files import saved_prompt_style, tokenizer_files
from litgpt.domain.errors import BadArgument, BadCheckpoint, ModelNotFound
from litgpt.domain.lora import Adapter, Pair, misfit
from litgpt.domain.ports import Checkpoint, ModelStore
from litgpt.domain.reference import ModelReference
from litgpt.domain.reporting import Report
from litgpt.domain.tensors import DType, TensorInfo
from litgpt.domain.vocabulary import TokenizerSource

if TYPE_CHECKING:
    import torch

_WHOLE_TOKENIZERS = {"tokenizer.json", "tokenizer.model"}


@attrs.define
class AdaptedCheckpoint:
    """A model with what an adapter adds to it: each tensor is changed as it is read, one at a time.

    So whatever can be done with a model can be done with this one: quantised, split, converted. The tensors
    that change are copies; the others are views of their files as they were.
    """

    name: str
    folder: Path
    _base: "Checkpoint[torch.Tensor]"
    _adapter: "Adapter[torch.Tensor]" = attrs.field(repr=False)
    _pairs: "Mapping[str, Pair[torch.Tensor]]" = attrs.field(repr=False)

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
        """The base's."""
        return self._base.config

    @property
    def generation_config(self) -> Mapping[str, object]:
        """The base's."""
        return self._base.generation_config

    @property
    def prompt_style(self) -> str | None:
        """The adapter's, if one was saved with it; otherwise the base's."""
        return saved_prompt_style(self.folder) or self._base.prompt_style

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever loads it should be told: what it is made of."""
        return (*self._base.notes, f"it is {self._base.origin}, with the adapter merged into it.")

    @property
    def tokenizer(self) -> TokenizerSource:
        """The one that was saved with the adapter; otherwise the base's."""
        own = tokenizer_files(self.folder)
        return own if own.paths.keys() & _WHOLE_TOKENIZERS else self._base.tokenizer

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor that the base has, by name."""
        return self._base.tensors

    def fetch(self, report: Report) -> None:
        """Bring the weights of the base to this machine."""
        self._base.fetch(report)

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor of the base, with what the adapter adds to it: added in float32, rounded once."""
        import torch

        pair = self._pairs.get(name)
        if pair is None:
            return self._base.read(name, dtype)
        stored = self._base.read(name)
        added = pair.b.float() @ pair.a.float() * self._adapter.lora.scaling(pair.rank, pair.alpha)
        whole = stored.float() + (added.T if self._adapter.transposed else added)
        return whole.to(stored.dtype if dtype is None else getattr(torch, dtype))

    def close(self) -> None:
        """Let go of the base's files."""
        self._base.close()


@attrs.frozen
class AdaptedStore:
    """Opens what other stores have, and folders of adapters for it.

    Attributes:
        stores: Where models are.
        root: Where names are looked for that are no paths.

    """

    stores: "ModelStore[torch.Tensor]"
    root: Path = Path("checkpoints")

    @property
    def place(self) -> str:
        """Where the stores look, in words."""
        return self.stores.place

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
            return self.stores.open(reference)
        if reference.revision is not None:
            expected = f"left out for an adapter on disk ({folder}), which says itself of its base's"
            raise BadArgument("revision", reference.revision, expected)
        adapter = read_adapter(folder)
        if adapter.base is None:
            raise BadCheckpoint(
                f"{folder / CONFIG} does not say what model the adapter is for (base_model_name_or_path). "
                "Load the model and then the adapter: llm.load_adapter()."
            )
        base = self._base(folder, adapter.base, adapter.revision, reference)
        try:
            pairs = _by_tensor(reference.name, adapter, base.tensors)
        except BaseException:
            base.close()
            raise
        return AdaptedCheckpoint(reference.name, folder, base, adapter, pairs)

    def _base(
        self, folder: Path, name: str, revision: str | None, reference: ModelReference
    ) -> "Checkpoint[torch.Tensor]":
        if Path(name).expanduser().exists():
            revision = None  # nothing on disk has one
        try:
            return self.stores.open(attrs.evolve(reference, name=name, revision=revision))
        except ModelNotFound as error:
            hint = f"The adapter {folder} is for it. {error.hint}".strip()
            raise ModelNotFound(name, error.searched, error.similar, hint) from error

    def _find(self, name: str) -> Path | None:
        for path in (Path(name), self.root / name):
            try:
                found = path.expanduser()
                if is_adapter(found):
                    return found
            except (OSError, RuntimeError):
                continue  # no such name is possible here
        return None


def _by_tensor(
    name: str, adapter: "Adapter[torch.Tensor]", tensors: Mapping[str, TensorInfo]
) -> "dict[str, Pair[torch.Tensor]]":
    """Return the pairs by the names of the tensors that they change."""
    found, unknown, misshapen = {}, [], []
    for module, pair in adapter.pairs.items():
        tensor = _tensor_of(f"{module}.weight", tensors)
        if tensor is None:
            unknown.append(module)
            continue
        shape, expected = (pair.b.shape[0], pair.a.shape[1]), tensors[tensor].shape
        if (shape[::-1] if adapter.transposed else shape) != expected:
            misshapen.append(f"{module} is for {list(shape)}, and {tensor} is {list(expected)}")
        found[tensor] = pair
    if unknown or misshapen:
        raise misfit(name, unknown, misshapen)
    return found


def _tensor_of(name: str, tensors: Collection[str]) -> str | None:
    """Return what a file calls a weight; some leave the first level out, some have one more."""
    if name in tensors:
        return name
    plain = ".".join(part for part in name.split(".") if part != "language_model")
    return next((one for one in (plain, plain.partition(".")[2]) if one in tensors), None)
