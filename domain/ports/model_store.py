"""The port ModelStore: open checkpoints by name."""

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
    def tensors(self) -> Mapping[str, TensorInfo]: ...

    def read(self, name: str, dtype: DType | None = None) -> TensorT_co:
        """Return a tensor, memory-mapped where the file has it in this dtype, else converted or dequantized.

        Args:
            name: A name in `tensors`; `fetch` must have been called.
            dtype: The dtype of the result; None: as stored, or float32 if torch does not have that dtype.

        Raises:
            InvalidArgument: The tensor does not exist.
            CorruptFile: The file's data do not match its header.
        """
        ...

    def close(self) -> None:
        """Close open files. Tensors that were read stay valid."""
        ...


class Checkpoint(TensorSource[TensorT_co], Protocol[TensorT_co]):
    """A stored model. Everything except `fetch` and `read` uses only headers and small files.

    Config keys and tensor names are those of Hugging Face in every storage format.
    """

    @property
    def name(self) -> str:
        """The name by which it was opened."""
        ...

    @property
    def origin(self) -> str:
        """Its location for messages: `the GGUF file models/x.gguf`, `the repository org/name on the Hub`."""
        ...

    @property
    def folder(self) -> Path | None:
        """The local folder that contains it, if any."""
        ...

    @property
    def path(self) -> Path | None:
        """The path that another process on this machine can open after `fetch`, if any."""
        ...

    @property
    def config(self) -> Mapping[str, object]: ...

    @property
    def generation_config(self) -> Mapping[str, object]:
        """The contents of `generation_config.json`; empty without one."""
        ...

    @property
    def prompt_style(self) -> str | None:
        """The name of the prompt style that was saved with it, if any."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user who loads it, for example that its weights are quantized."""
        ...

    @property
    def tokenizer(self) -> TokenizerSource: ...

    def fetch(self, report: Reporter) -> None:
        """Download the weights if they are not on this machine.

        Raises:
            HubUnreachable: A download is needed and the Hub does not answer.
        """
        ...


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
