"""Errors of training and its data; `litgpt.errors` shows the hierarchy."""

from collections.abc import Sequence

import attrs

from litgpt.domain.errors import CheckpointMismatch, InvalidArgument, LitGPTError
from litgpt.domain.formatting.bounded_text import short_repr


class UnknownSetting(InvalidArgument):
    """A training configuration (`name`: its file) has a setting (`value`) that does not exist."""

    def __str__(self) -> str:
        where = f" in {self.name}" if self.name else ""
        return f"Unknown setting {short_repr(self.value)}{where}. {self.expected}"


@attrs.define(eq=False)
class InvalidData(LitGPTError, ValueError):
    """A record or a data set cannot be used for training; `where` is its file and line, or its number."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where} cannot be used for training: {self.reason}"


@attrs.define(eq=False)
class DataNotFound(LitGPTError, FileNotFoundError):
    """A data set was not found; `hint` is a remedy, as a sentence."""

    name: str
    searched: Sequence[str] = ()
    hint: str = ""

    def __str__(self) -> str:
        where = f" Looked in: {'; '.join(self.searched)}." if self.searched else ""
        return f"The data set {self.name!r} was not found.{where}{f' {self.hint}' if self.hint else ''}"


@attrs.define(eq=False)
class DataModuleNotConnected(LitGPTError, RuntimeError):
    """The data module `name` has no tokenizer yet."""

    name: str

    def __str__(self) -> str:
        return (
            f"{self.name} is not connected to a tokenizer yet. Before training, call "
            "data.connect(llm.tokenizer, batch_size=8, max_seq_length=512)."
        )


@attrs.define(eq=False)
class TrainerCheckpointMismatch(CheckpointMismatch):
    """The tensors of a Trainer checkpoint do not match the model that it is loaded into."""

    model: str = "this model"

    def __str__(self) -> str:
        remedy = "Pass a checkpoint that was saved during the training of this model."
        return f"{self.name} is not a checkpoint of {self.model}: {self.differences}. {remedy}"
