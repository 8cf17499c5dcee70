"""Errors. Messages have a bounded length and name a remedy; `litgpt.errors` shows the hierarchy."""

import warnings
from collections.abc import Sequence

import attrs

from litgpt.domain.formatting.bounded_text import bounded_message, join_names, short_repr


class LitGPTError(Exception):
    """Base class of all errors that this library raises on purpose."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in {"__str__", "__repr__"} & cls.__dict__.keys():
            setattr(cls, name, bounded_message(cls.__dict__[name]))


@attrs.define(eq=False)
class InvalidArgument(LitGPTError, ValueError):
    """An argument is not valid; `expected` describes the valid values, to follow "must be"."""

    name: str
    value: object
    expected: str
    similar: Sequence[str] = ()

    def __str__(self) -> str:
        similar = f" Did you mean {' or '.join(self.similar)}?" if self.similar else ""
        return f"{self.name} must be {self.expected}, not {short_repr(self.value, limit=200)}.{similar}"


class MissingArgument(InvalidArgument):
    """A required argument is missing or None; `expected` is an imperative sentence with the remedy."""

    def __str__(self) -> str:
        return f"Missing {self.name}: {self.expected}"


class WrongType(InvalidArgument, TypeError):
    """An argument has the wrong type."""

    def __str__(self) -> str:
        kind = type(self.value).__name__
        if self.value is None:
            return f"{self.name} must be {self.expected}, not None."
        return f"{self.name} must be {self.expected}, not {kind} {short_repr(self.value)}."


@attrs.define(eq=False)
class PromptTooLong(LitGPTError, ValueError):
    """The prompt is longer than the context of the model, or than its fixed KV cache (in tokens)."""

    tokens: int
    context: int

    def __str__(self) -> str:
        return (
            f"The prompt has {self.tokens} tokens, but the context length is {self.context}, of which the "
            "answer needs at least one. Shorten the prompt or load a model with a longer context."
        )


class TextTooLong(PromptTooLong):
    """A text to be scored or embedded is longer than the context (in tokens)."""

    def __str__(self) -> str:
        return (
            f"The text has {self.tokens} tokens, but the context length is {self.context}. Shorten the text, "
            "or load a model with a longer context; LLM.perplexity reads a text of any length in windows."
        )


@attrs.define(eq=False)
class ModelNotFound(LitGPTError, FileNotFoundError):
    """The model was not found."""

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
    """A required package is not installed; `command` installs it."""

    feature: str
    package: str
    command: str

    def __str__(self) -> str:
        return f"{self.feature} needs the package {self.package}, which is not installed. Run: {self.command}"


@attrs.define(eq=False)
class AccessDenied(LitGPTError, PermissionError):
    """The Hub denied access to a repository."""

    name: str
    remedy: str

    def __str__(self) -> str:
        return f"The Hub denied access to {self.name!r}: {self.remedy}"


@attrs.define(eq=False)
class HubUnreachable(LitGPTError, ConnectionError):
    """The Hub did not answer, or offline mode is on; `cached` is the state of the cache, as a verb phrase."""

    name: str
    reason: str
    cached: str = "is not in the local cache"
    searched: Sequence[str] = ()
    hint: str = ""

    def __str__(self) -> str:
        where = f" Also looked in: {'; '.join(self.searched)}." if self.searched else ""
        hint = f" {self.hint}" if self.hint else ""
        return (
            f"{self.name!r} {self.cached} and the Hub cannot be reached: {self.reason} "
            f"Check the network connection, or pass a local folder.{where}{hint}"
        )


class InvalidCheckpoint(LitGPTError):
    """The files of the checkpoint exist, but cannot be used."""


@attrs.define(eq=False)
class MissingFile(InvalidCheckpoint, FileNotFoundError):
    """A file of the checkpoint is missing."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path} is missing{'.' if self.why[:1].isupper() else ':'} {self.why}"


@attrs.define(eq=False)
class CorruptFile(InvalidCheckpoint):
    """A file is truncated or inconsistent."""

    path: str
    reason: str
    remedy: str = "Download or copy it again."

    def __str__(self) -> str:
        return f"{self.path} is damaged: {self.reason} {self.remedy}"


@attrs.define(eq=False)
class UnsafeFile(InvalidCheckpoint):
    """The only weights are a pickle, which can execute code when it is loaded."""

    path: str
    remedy: str = "Convert it to safetensors, or load a revision that has safetensors."

    def __str__(self) -> str:
        return f"{self.path} is a pickle, which can execute code, so it is not loaded. {self.remedy}"


@attrs.define(eq=False)
class CheckpointMismatch(InvalidCheckpoint):
    """The tensors of the checkpoint do not match its config; `shape_mismatches` are sentences."""

    name: str
    missing: Sequence[str] = ()
    unexpected: Sequence[str] = ()
    shape_mismatches: Sequence[str] = ()

    def __str__(self) -> str:
        return f"The tensors of {self.name} do not match its config.json. {self.differences}."

    @property
    def differences(self) -> str:
        """The number of mismatched tensors of each kind, and the first names."""
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "with a wrong shape": self.shape_mismatches,
        }
        return "; ".join(
            f"{len(names)} {kind}: {join_names(names)}" for kind, names in kinds.items() if names
        )


@attrs.define(eq=False)
class TokenizerMismatch(InvalidCheckpoint):
    """The tokenizer is missing, or belongs to another model; `reason` follows the model's name."""

    name: str
    reason: str
    remedy: str = "Pass tokenizer_dir= with a folder that contains tokenizer.json or tokenizer.model."

    def __str__(self) -> str:
        return f"{self.name} {self.reason} {self.remedy}"


@attrs.define(eq=False)
class UnsupportedModel(LitGPTError, NotImplementedError):
    """A model family, or one of its settings, is not implemented; results would be wrong without it."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} is not supported: {self.reason}"


@attrs.define(eq=False)
class UnsupportedPrompt(LitGPTError, ValueError):
    """The prompt style does not support the messages, the system prompt or the tools."""

    style: str
    reason: str

    def __str__(self) -> str:
        return f"The prompt style {self.style} does not support this: {self.reason}"


@attrs.define(eq=False)
class NotDistributed(LitGPTError, AttributeError):
    """The model is not on a device: not yet, or not any more because it was closed."""

    is_closed: bool = False

    def __str__(self) -> str:
        if self.is_closed:
            return "The model was closed; call .distribute() to use it again."
        how = "use the .distribute() or .trainer_setup() method to initialize the model"
        return f"The model is not initialized yet; {how}."


@attrs.define(eq=False)
class UnsupportedOperation(LitGPTError, RuntimeError):
    """The requested operation is not possible here."""

    requested: str
    reason: str

    def __str__(self) -> str:
        return f"{self.requested} is not possible: {self.reason}"


@attrs.define(eq=False)
class HardwareUnavailable(UnsupportedOperation):
    """A requested device does not exist."""


@attrs.define(eq=False)
class InsufficientSpace(UnsupportedOperation):
    """There is not enough memory or disk space."""


_RENAMED = {
    "BadArgument": "InvalidArgument",
    "BadCheckpoint": "InvalidCheckpoint",
    "BadPrompt": "UnsupportedPrompt",
    "DamagedFile": "CorruptFile",
    "OutOfReach": "UnsupportedOperation",
}
"""Names of earlier versions, which still work."""


def __getattr__(name: str) -> type[LitGPTError]:
    if name in _RENAMED:
        message = f"{name} is called {_RENAMED[name]} now; the old name will be removed."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return globals()[_RENAMED[name]]  # type: ignore[no-any-return]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
