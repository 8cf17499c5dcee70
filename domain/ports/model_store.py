"""The port ModelStore, which answers what is behind a name."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerSource
from litgpt.domain.weights.tensor_info import DType, TensorInfo

TensorT_co = TypeVar("TensorT_co", covariant=True)
TensorT_contra = TypeVar("TensorT_contra", contravariant=True)


class TensorSource(Protocol[TensorT_co]):
    """The tensors of a checkpoint."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor, by name."""
        ...

    def read(self, name: str, dtype: DType | None = None) -> TensorT_co:
        """Return a tensor, memory-mapped where the file has it in this dtype, else converted or dequantized.

        Args:
            name: One of `tensors`. `fetch` has been called.
            dtype: What to return it in; None is how it is stored, or float32 if that is no dtype of torch.

        Raises:
            BadArgument: There is no tensor of this name.
            DamagedFile: The file does not hold what its header promised.

        """
        ...

    def close(self) -> None:
        """Let go of open files. Tensors that were read stay valid."""
        ...


class Checkpoint(TensorSource[TensorT_co], Protocol[TensorT_co]):
    """A model at rest. Everything but `fetch` and `read` is known from headers and small files alone.

    It speaks Hugging Face's dialect, whatever it is stored as: `config.json` keys and tensor names.
    """

    @property
    def name(self) -> str:
        """What it was asked for as."""
        ...

    @property
    def origin(self) -> str:
        """Where it is, in words: `the GGUF file models/x.gguf`, `the repository org/name on the Hub`."""
        ...

    @property
    def folder(self) -> Path | None:
        """The folder it lies in, if it lies in one."""
        ...

    @property
    def path(self) -> Path | None:
        """What opens it in another process on this machine, once it is fetched; None if nothing does."""
        ...

    @property
    def config(self) -> Mapping[str, object]:
        """The contents of `config.json`."""
        ...

    @property
    def generation_config(self) -> Mapping[str, object]:
        """The contents of `generation_config.json`; empty if there is none."""
        ...

    @property
    def prompt_style(self) -> str | None:
        """The name of a prompt style that was saved with it, if one was."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever loads it should be told, in sentences: that its weights are quantized, say."""
        ...

    @property
    def tokenizer(self) -> TokenizerSource:
        """Where its tokenizer is."""
        ...

    def fetch(self, report: Reporter) -> None:
        """Bring the weights to this machine, if they are not here yet.

        Raises:
            HubUnreachable: They have to come from a Hub that does not answer.

        """
        ...


class Weights(Protocol[TensorT_co]):
    """The weights of a model that runs, to be written."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor, by Hugging Face's name, as it will be read."""
        ...

    @property
    def quantization(self) -> Mapping[str, object] | None:
        """The `quantization_config` of `config.json`, by which they are read; None if they are plain."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever writes `tensors` should tell."""
        ...

    def read(self, name: str) -> TensorT_co:
        """Return one of `tensors`."""
        ...


@attrs.frozen(kw_only=True)
class ModelToSave(Generic[TensorT_co]):
    """All that a folder needs to be opened as a model.

    Attributes:
        name: What to call it.
        config: The contents of `config.json`.
        generation_config: The contents of `generation_config.json`; empty writes none.
        prompt_style: The name of a prompt style to save; None saves none.
        tokenizer: The tokenizer's files, by name.
        chat_template: A chat template, in jinja, in place of that in the tokenizer's files; None keeps those.
        weights: Its weights.

    """

    name: str
    config: Mapping[str, object] = attrs.field(repr=False)
    generation_config: Mapping[str, object] = attrs.field(repr=False)
    prompt_style: str | None
    tokenizer: Mapping[str, bytes] = attrs.field(repr=False)
    weights: Weights[TensorT_co] = attrs.field(repr=False)
    chat_template: str | None = attrs.field(default=None, repr=False)

    __repr__ = brief_repr


class WriteModel(Protocol[TensorT_contra]):
    """Writes a model as a folder: the half of a store that saves."""

    def __call__(self, folder: Path, model: ModelToSave[TensorT_contra], report: Reporter) -> None:
        """Write it. What was in the folder before stays whole until its place is taken.

        Raises:
            OutOfReach: The disk has not the room, or the folder cannot be written to.
            UnsupportedModel: This format cannot express the model.

        """
        ...


class ModelStore(Protocol[TensorT_co]):
    """Opens models by name."""

    @property
    def location(self) -> str:
        """Where this store looks, in words, such as `folders under ./checkpoints`."""
        ...

    def names(self) -> Iterable[str]:
        """Return names that this store has or knows, to suggest when another is not found; never slowly."""
        ...

    def open(self, reference: ModelReference) -> Checkpoint[TensorT_co]:
        """Open a model: headers and small files only, so this is quick.

        Raises:
            ModelNotFound: This store does not have it. Another may be asked.
            BadCheckpoint: This store has it, and it cannot be used. No other store is asked.
            AccessDenied: The Hub does not give it to us.
            HubUnreachable: The Hub had to be asked and did not answer.

        """
        ...
