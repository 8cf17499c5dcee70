"""The port ModelStore: open checkpoints by name."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import attrs

from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles, TokenizerSource
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_info import DType, TensorInfo

TensorT_co = TypeVar("TensorT_co", covariant=True)
TensorT_contra = TypeVar("TensorT_contra", contravariant=True)


class TensorSource(Protocol[TensorT_co]):
    """The tensors of a checkpoint, by their Hugging Face names in every storage format."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]: ...

    def fetch(self, report: Reporter) -> None:
        """Download the weights if they are not on this machine.

        Raises:
            HubUnreachable: A download is needed and the Hub does not answer.
        """
        ...

    def read(self, name: str, dtype: DType | None = None) -> TensorT_co:
        """Return a tensor, memory-mapped where the file has it in this dtype, else converted or dequantized.

        Args:
            name: A name in `tensors`; `fetch` must have been called.
            dtype: The dtype of the result; None: as stored, or float32 if torch does not have that dtype.

        Raises:
            CorruptFile: The file's data do not match its header.
            MissingFile: The file was removed after it was opened.
        """
        ...

    def raw(self, name: str) -> RawTensor | None:
        """Return the stored bytes of a tensor, memory-mapped.

        None if its values are not stored as rows in one of the formats of `RawRows`: they are transposed,
        changed by an adapter, packed in another quantization format, or not in a file.

        Args:
            name: A name in `tensors`; `fetch` must have been called.

        Raises:
            CorruptFile: The file changed after it was opened.
            MissingFile: The file was removed after it was opened.
        """
        ...

    def close(self) -> None:
        """Close open files. Tensors that were read stay valid."""
        ...


@attrs.frozen(kw_only=True)
class CheckpointInfo:
    """A stored model without its tensors, read from headers and small files.

    Attributes:
        name: The name by which it was opened.
        origin: Its location for messages: `the GGUF file x.gguf`, `the repository org/name on the Hub`.
        config: The contents of `config.json`, with Hugging Face's keys in every storage format; without
            `quantization_config` if the weights are dequantized.
        generation_config: The contents of `generation_config.json`; empty without one.
        prompt_style: The name of the prompt style that was saved with it, if any.
        notes: Sentences for the user who loads it, for example that its weights are quantized.
        read_tokenizer: Reads the vocabulary of a GGUF file, or returns the tokenizer's files.
        folder: The local folder that contains it, if any.
        path: The path that another process on this machine can open after `fetch`, if any.
    """

    name: str
    origin: str
    config: Mapping[str, object] = attrs.field(repr=False)
    generation_config: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    prompt_style: str | None = None
    notes: tuple[str, ...] = ()
    read_tokenizer: Callable[[], TokenizerSource] = attrs.field(
        default=partial(TokenizerFiles, {}), repr=False
    )
    folder: Path | None = None
    path: Path | None = None


@attrs.frozen(kw_only=True)
class Checkpoint(CheckpointInfo, Generic[TensorT_co]):
    """A stored model: its description and the source of its tensors."""

    source: TensorSource[TensorT_co] = attrs.field(repr=False)

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self.source.tensors

    def fetch(self, report: Reporter) -> None:
        """Download the weights if they are not on this machine (see `TensorSource.fetch`)."""
        self.source.fetch(report)

    def read(self, name: str, dtype: DType | None = None) -> TensorT_co:
        """Return a tensor (see `TensorSource.read`).

        Raises:
            InvalidArgument: The tensor does not exist.
        """
        self._check(name)
        return self.source.read(name, dtype)

    def raw(self, name: str) -> RawTensor | None:
        """Return the stored bytes of a tensor, or None (see `TensorSource.raw`).

        Raises:
            InvalidArgument: The tensor does not exist.
        """
        self._check(name)
        return self.source.raw(name)

    def _check(self, name: str) -> None:
        if name not in self.source.tensors:
            raise InvalidArgument("name", name, f"one of the tensors of {self.name}")

    def close(self) -> None:
        """Close open files. Tensors that were read stay valid."""
        self.source.close()


class Weights(Protocol[TensorT_co]):
    """The weights of a loaded model, for writing."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor that `read` returns, by its Hugging Face name."""
        ...

    @property
    def quantization(self) -> Mapping[str, object] | None:
        """The `quantization_config` of `config.json`; None if the weights are not quantized."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user who saves the model."""
        ...

    def read(self, name: str) -> TensorT_co: ...


@attrs.frozen(kw_only=True)
class ModelToSave(Generic[TensorT_co]):
    """The contents of a model folder.

    Attributes:
        name: Name for messages.
        generation_config: The contents of `generation_config.json`; if empty, the file is not written.
        tokenizer: The contents of the tokenizer's files, by file name.
        chat_template: Jinja chat template that replaces that of the tokenizer's files; None keeps them.
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
    """Writes a model as a folder."""

    def __call__(self, folder: Path, model: ModelToSave[TensorT_contra], report: Reporter) -> None:
        """Write the model; earlier contents of the folder stay intact until they are replaced.

        Raises:
            UnsupportedOperation: There is not enough disk space, or the folder is not writable.
            UnsupportedModel: This format cannot express the model.
        """
        ...


class ModelStore(Protocol[TensorT_co]):
    """Opens models by name."""

    @property
    def location(self) -> str:
        """Description of the searched location, such as `folders under ./checkpoints`."""
        ...

    def names(self) -> Iterable[str]:
        """Return known names for suggestions after a failed lookup; must be fast."""
        ...

    def open(self, reference: ModelReference) -> Checkpoint[TensorT_co]:
        """Open a model, reading only headers and small files.

        Raises:
            ModelNotFound: This store does not have it; the next store is tried.
            InvalidCheckpoint: This store has it, but it cannot be used; no other store is tried.
            AccessDenied: The Hub denied access.
            HubUnreachable: The Hub is needed and did not answer.
        """
        ...
