"""Errors during generation; `litgpt.errors` shows the hierarchy."""

from collections.abc import Sequence

import attrs

from litgpt.domain.errors import LitGPTError
from litgpt.domain.formatting.bounded_text import join_names, short_repr


@attrs.define(eq=False)
class NonFiniteLogits(LitGPTError, FloatingPointError):
    """The model's logits are NaN or infinite, or exclude every token, so that no token can be drawn.

    Attributes:
        rows: The affected prompts, counted from 0.
        num_prompts: The number of prompts of the call; None: unknown.
        where: The first module whose output is not finite, and the reason; None if unknown.
    """

    rows: Sequence[int] = ()
    num_prompts: int | None = 1
    where: str | None = None

    def __str__(self) -> str:
        of = f" for prompt {join_names([str(row) for row in self.rows])}" if self.num_prompts != 1 else ""
        first = "" if self.where is None else f" First occurrence: {self.where}."
        return (
            f"The model's logits are not finite numbers{of} (NaN, +inf, or -inf for every token).{first} "
            "If weights are damaged, download or convert them again; if activations overflow, use another "
            "precision, such as precision='bf16-true' or '32-true'."
        )


@attrs.define(eq=False)
class InvalidBatchLine(LitGPTError, ValueError):
    """A line of a batch file is not a request; `reason` is a sentence."""

    reason: str

    def __str__(self) -> str:
        return self.reason


class AllTokensExcluded(LitGPTError, ValueError):
    """The sampling parameters of a request exclude every token, or a logits processor did."""

    def __str__(self) -> str:
        return (
            "The sampling parameters exclude every token. Allow more tokens: allowed_token_ids, bad_words "
            "and min_tokens exclude tokens, and a logits_processor must return a finite number for at least "
            "one token and neither NaN nor +inf for any."
        )


@attrs.define(eq=False)
class ConstraintFailed(LitGPTError, RuntimeError):
    """A constraint cannot be followed any further; `reason` is the message of its library."""

    reason: str

    def __str__(self) -> str:
        return (
            f"The constraint on the answer cannot be followed any further: {self.reason} "
            "Simplify the schema, the regular expression or the grammar. A logits_processor must not allow "
            "tokens that are excluded."
        )


@attrs.define(eq=False)
class IncompleteAnswer(LitGPTError, ValueError):
    """An answer does not have the form that was asked for.

    Attributes:
        text: The answer.
        finish_reason: `length` if the answer was cut off.
        reason: Why the text cannot be read, if it was not cut off.
    """

    text: str
    finish_reason: str
    reason: str = ""

    def __str__(self) -> str:
        text = short_repr(self.text, limit=200)
        if self.finish_reason == "length":
            return (
                f"The answer was cut off before it was complete: {text}. Pass a larger max_new_tokens, or "
                "bound the lengths of strings and arrays in the schema."
            )
        return f"The answer does not have the form that was asked for: {text}. {self.reason}".rstrip()


@attrs.define(eq=False)
class WorkerLost(LitGPTError, RuntimeError):
    """A worker process is gone, so the model can no longer be used; `rank` is None under torchrun."""

    rank: int | None
    cause: str
    remedy: str = "Call distribute() again."

    def __str__(self) -> str:
        if self.rank is None:
            return f"A worker process of the model is gone: {self.cause}. Restart all ranks."
        return f"The worker process of rank {self.rank} is gone: {self.cause}. {self.remedy}"


@attrs.define(eq=False)
class WorkerFailed(LitGPTError, RuntimeError):
    """A worker process could not finish a step; the model can still be used."""

    rank: int | None
    cause: str

    def __str__(self) -> str:
        which = "A rank" if self.rank is None else f"Rank {self.rank}"
        return (
            f"{which} of the model could not finish the step: {self.cause}. All ranks are ready for the next "
            "one; if it ran out of memory, use shorter or fewer prompts."
        )


@attrs.define(eq=False)
class ModelBusy(LitGPTError, RuntimeError):
    """The model cannot be changed, because a generation that cannot finish during the call is in progress."""

    operation: str
    reason: str

    def __str__(self) -> str:
        return f"{self.operation} would change a model that is generating: {self.reason}"


@attrs.define(eq=False)
class TooManyToolRounds(LitGPTError, RuntimeError):
    """The model went on to call tools until the limit of rounds; `calls` are the last ones, not run."""

    rounds: int
    calls: Sequence[str] = ()

    def __str__(self) -> str:
        return (
            f"The model has called tools {self.rounds} times in a row without answering, last "
            f"{join_names(self.calls)}. The conversation has the results so far. Pass a larger "
            "max_tool_rounds to LLM.chat, or send a message that asks for an answer."
        )


class WeightsReplaced(LitGPTError, RuntimeError):
    """The weights changed during generation, so the answer cannot be finished."""

    def __str__(self) -> str:
        return (
            "The model's weights were changed while it was generating, as an optimizer in another thread "
            "does. Generate between steps, as in a callback of the Trainer, or save() the model "
            "and generate with another LLM that loads it."
        )


class ModelClosed(LitGPTError, RuntimeError):
    """The model of a stream was closed."""

    def __str__(self) -> str:
        return (
            "The model was closed before this answer was finished. Read streams to their end before close(), "
            "or before the `with` block of the model ends."
        )
