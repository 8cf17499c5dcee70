"""What is raised about training and its data; `litgpt.domain.errors` draws the tree that it belongs to."""

from collections.abc import Sequence

import attrs

from litgpt.domain.errors import CheckpointMismatch, LitGPTError


@attrs.define(eq=False)
class BadData(LitGPTError, ValueError):
    """A record, or a whole data set, is nothing that a model can learn from.

    Attributes:
        where: The data set, and the line or the number of the record.
        reason: What is wrong with it, as a sentence.

    """

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where} cannot be learnt from: {self.reason}"


@attrs.define(eq=False)
class DataNotFound(LitGPTError, FileNotFoundError):
    """There is no such data set.

    Attributes:
        name: The path or the repository.
        searched: Where it was looked for.
        hint: What else there is to know or to do.

    """

    name: str
    searched: Sequence[str] = ()
    hint: str = ""

    def __str__(self) -> str:
        where = f" Looked in: {'; '.join(self.searched)}." if self.searched else ""
        return f"There is no data set {self.name!r}.{where}{f' {self.hint}' if self.hint else ''}"


@attrs.define(eq=False)
class NotConnected(LitGPTError, RuntimeError):
    """A data module does not know the tokenizer yet that its texts are to be written with.

    Attributes:
        name: The data module.

    """

    name: str

    def __str__(self) -> str:
        return (
            f"{self.name} is not connected to a tokenizer yet. Before training, call "
            "data.connect(llm.tokenizer, batch_size=8, max_seq_length=512)."
        )


@attrs.define(eq=False)
class NotOfThisModel(CheckpointMismatch):
    """A Trainer checkpoint holds other tensors than the model that it is to be read into.

    Attributes:
        model: That model.

    """

    model: str = "this model"

    def __str__(self) -> str:
        remedy = "Pass a checkpoint that was written while this model was trained."
        return f"{self.name} is no checkpoint of {self.model}: {self.differences}. {remedy}"
