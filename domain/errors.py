"""Every error of this library: messages of bounded length say what to do, attributes hold all values.

LitGPTError
├── BadArgument (ValueError)               an argument that cannot be right
│   ├── WrongType (TypeError)              … because of its type
│   └── PromptTooLong                      … because the model's context is shorter
├── WrongCall (TypeError)                  arguments that a function does not take: domain/calls.py
├── ModelNotFound (FileNotFoundError)      nobody who was asked has this model
├── NotInstalled (ImportError)             a package is missing; the message has the command
├── AccessDenied (PermissionError)         the Hub wants a token or an accepted licence
├── HubUnreachable (ConnectionError)       the Hub did not answer, or offline mode is on
├── BadCheckpoint                          the files are there and cannot be used
│   ├── MissingFile (FileNotFoundError)    … one is not there after all
│   ├── DamagedFile                        … one is cut short or contradicts itself
│   ├── UnsafeFile                         … only a pickle that could run code
│   ├── CheckpointMismatch                 … tensors are missing, left over or misshapen
│   │   └── NotOfThisModel                 … those of a Trainer checkpoint: domain/training/errors.py
│   └── TokenizerMismatch                  … the tokenizer belongs to another model
├── UnsupportedModel (NotImplementedError) a family, or a setting of it, that is not implemented
├── BadPrompt (ValueError)                 messages or a system prompt that the style cannot express
├── BadData (ValueError)                   a record, or a data set, that nothing can be learnt from …
├── DataNotFound (FileNotFoundError)       a data set that is not there …
├── NotConnected (RuntimeError)            … and a data module without a tokenizer: domain/training/errors.py
├── NotDistributed (AttributeError)        the model has no device yet
├── OutOfReach (RuntimeError)              hardware that is not there
├── NotANumber (FloatingPointError)        no token can be drawn: domain/computing_errors.py
├── Busy (RuntimeError)                    a change of a model that is generating: computing_errors.py
├── WeightsChanged (RuntimeError)          … an optimizer stepped within an answer: computing_errors.py
├── AnswerEnded (RuntimeError)             … and a stream whose model was closed: computing_errors.py
├── WorkerLost (RuntimeError)              a process that computed a part of the model is gone
└── WorkerFailed (RuntimeError)            … could not do a step: domain/computing_errors.py
"""

from collections.abc import Sequence

import attrs

from litgpt.domain.messages import bounded, listed, short_repr


class LitGPTError(Exception):
    """The root of everything that this library raises on purpose."""

    def __init_subclass__(cls) -> None:
        """Bound the message and the repr of each kind of error, whatever it has for values."""
        super().__init_subclass__()
        for name in {"__str__", "__repr__"} & cls.__dict__.keys():
            setattr(cls, name, bounded(cls.__dict__[name]))


@attrs.define(eq=False)
class BadArgument(LitGPTError, ValueError):
    """An argument cannot be right.

    Attributes:
        name: The argument, as the caller wrote it.
        value: What was passed.
        expected: What would have been right, to follow "must be".

    """

    name: str
    value: object
    expected: str

    def __str__(self) -> str:
        return f"{self.name} must be {self.expected}, not {short_repr(self.value, limit=200)}."


class WrongType(BadArgument, TypeError):
    """An argument is of a type that cannot be right."""

    def __str__(self) -> str:
        kind = type(self.value).__name__
        return f"{self.name} must be {self.expected}, not {kind} {short_repr(self.value)}."


@attrs.define(eq=False)
class PromptTooLong(LitGPTError, ValueError):
    """The prompt leaves no room for an answer.

    Attributes:
        tokens: The prompt's length.
        context: What the model, or its fixed cache, holds.

    """

    tokens: int
    context: int

    def __str__(self) -> str:
        return (
            f"The prompt has {self.tokens} tokens and the context holds {self.context}, of which one is "
            "needed for the answer. Shorten the prompt or load a model with a longer context."
        )


@attrs.define(eq=False)
class ModelNotFound(LitGPTError, FileNotFoundError):
    """Nobody who was asked has this model."""

    name: str
    searched: Sequence[str] = ()
    similar: Sequence[str] = ()
    hint: str = ""

    def __str__(self) -> str:
        where = f" Looked in: {'; '.join(self.searched)}." if self.searched else ""
        similar = f" Did you mean {' or '.join(self.similar)}?" if self.similar else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"There is no model {self.name!r}.{where}{similar}{hint}"


@attrs.define(eq=False)
class NotInstalled(LitGPTError, ImportError):
    """Something needs a package that is not installed.

    Attributes:
        what: What needs it.
        package: The package.
        command: The one command that installs it.

    """

    what: str
    package: str
    command: str

    def __str__(self) -> str:
        return f"{self.what} needs the package {self.package}, which is not installed. Run: {self.command}"


@attrs.define(eq=False)
class AccessDenied(LitGPTError, PermissionError):
    """The Hub does not give this repository to us."""

    name: str
    remedy: str

    def __str__(self) -> str:
        return f"The Hub refuses access to {self.name!r}: {self.remedy}"


@attrs.define(eq=False)
class HubUnreachable(LitGPTError, ConnectionError):
    """The Hub did not answer, or offline mode is on.

    Attributes:
        name: What was asked for.
        reason: Why there is no answer.
        cached: What is in the local cache of it.

    """

    name: str
    reason: str
    cached: str = "is not in the local cache"

    def __str__(self) -> str:
        return (
            f"{self.name!r} {self.cached} and the Hub cannot be reached: {self.reason} "
            "Check the network, or pass a folder that is already on disk."
        )


class BadCheckpoint(LitGPTError):
    """The checkpoint's files are there and cannot be used."""


@attrs.define(eq=False)
class MissingFile(BadCheckpoint, FileNotFoundError):
    """A file that belongs to the checkpoint is not there."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path} is missing: {self.why}"


@attrs.define(eq=False)
class DamagedFile(BadCheckpoint):
    """A file is cut short, or what it says of itself cannot be true."""

    path: str
    reason: str
    remedy: str = "Download or copy it again."

    def __str__(self) -> str:
        return f"{self.path} is damaged: {self.reason} {self.remedy}"


@attrs.define(eq=False)
class UnsafeFile(BadCheckpoint):
    """The only weights are a pickle, which could run any code while it is read."""

    path: str
    remedy: str = "Ask for, or convert to, safetensors."

    def __str__(self) -> str:
        return f"{self.path} is a pickle, which could run code, and is therefore not read. {self.remedy}"


@attrs.define(eq=False)
class CheckpointMismatch(BadCheckpoint):
    """The tensors in the checkpoint are not the tensors that its config asks for.

    Attributes:
        name: The checkpoint.
        missing: Tensors that the model needs and the checkpoint lacks.
        unread: Tensors that the checkpoint holds and the model has no use for.
        misshapen: Sentences that say which shape was expected and which was found.

    """

    name: str
    missing: Sequence[str] = ()
    unread: Sequence[str] = ()
    misshapen: Sequence[str] = ()

    def __str__(self) -> str:
        return f"The tensors of {self.name} do not fit its config.json. {self.differences}."

    @property
    def differences(self) -> str:
        """The tensors that do not fit, and why: the first of each kind, and how many there are."""
        lists = (("missing", self.missing), ("left over", self.unread), ("of a wrong shape", self.misshapen))
        return "; ".join(f"{len(names)} {what}: {listed(names)}" for what, names in lists if names)


@attrs.define(eq=False)
class TokenizerMismatch(BadCheckpoint):
    """The tokenizer is missing, or belongs to another model."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"The tokenizer of {self.name} does not fit: {self.reason}"


@attrs.define(eq=False)
class UnsupportedModel(LitGPTError, NotImplementedError):
    """A family, or a setting of one, is not implemented: the model is not run rather than run wrong."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} cannot be run: {self.reason}"


@attrs.define(eq=False)
class BadPrompt(LitGPTError, ValueError):
    """The prompt style cannot express what it was given."""

    style: str
    reason: str

    def __str__(self) -> str:
        return f"The prompt style {self.style} cannot express this: {self.reason}"


class NotDistributed(LitGPTError, AttributeError):
    """The model has no device yet."""

    def __str__(self) -> str:
        how = "use the .distribute() or .trainer_setup() method to initialize the model"
        return f"The model is not initialized yet; {how}."


@attrs.define(eq=False)
class OutOfReach(LitGPTError, RuntimeError):
    """What was asked for needs hardware, or a part of this library, that is not there."""

    asked: str
    reason: str

    def __str__(self) -> str:
        return f"{self.asked} is not possible: {self.reason}"


@attrs.define(eq=False)
class WorkerLost(LitGPTError, RuntimeError):
    """A process that computed a part of the model is gone, and with it the model.

    Attributes:
        rank: Which one; None: one of those that were started from outside.
        cause: What became of it.

    """

    rank: int | None
    cause: str

    def __str__(self) -> str:
        again = "Start all ranks again." if self.rank is None else "Place the model again with distribute()."
        which = "a part" if self.rank is None else f"rank {self.rank}"
        return f"The process that computed {which} of the model is gone: {self.cause}. {again}"
