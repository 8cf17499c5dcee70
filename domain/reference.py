"""References to models by name."""

from pathlib import Path
from typing import Any

import attrs

from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.formatting.redaction import Redacted, is_valid_token, redact


def _validate_name(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str):
        raise WrongType("model", value, "a name or a path, as a string")
    if not value.strip() or "\0" in value:
        raise InvalidArgument("model", value, "a name such as 'smollm2', a path or a Hub repository")


def _clean_token(value: Any) -> str | None:
    """Strip and validate an access token; error messages do not contain it."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise WrongType("access_token", Redacted(), "a string or None")
    token = value.strip()
    if not is_valid_token(token):
        raise InvalidArgument("access_token", Redacted(), "one word of printable ASCII characters")
    return token


@attrs.frozen
class ModelReference:
    """The name of a model and how to find it.

    Attributes:
        name: A folder, a file, the short name of an installed package, or a Hub repository.
        revision: A branch, tag or commit of the repository; None: its main branch.
        offline: Whether to use local files only; None: huggingface_hub's environment variables decide.
        token: Access token of the Hub; None: the token that huggingface_hub finds.
    """

    name: str = attrs.field(validator=_validate_name)
    revision: str | None = None
    offline: bool | None = None
    token: str | None = attrs.field(default=None, repr=False, converter=_clean_token)

    __repr__ = brief_repr

    def draft(self, name: str | Path) -> "ModelReference":
        """Return the reference to a draft model for this one, which is found in the same places."""
        name = str(name) if isinstance(name, Path) else name
        return ModelReference(name, None, self.offline, self.token)

    def __str__(self) -> str:
        name = redact(self.name)
        return name if self.revision is None else f"{name} at {self.revision}"


def absolute_name(name: str) -> str:
    """Return a name that is independent of the working directory: existing paths become absolute."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name
