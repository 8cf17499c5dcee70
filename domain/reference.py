"""How a caller names a model."""

from typing import Any

import attrs

from litgpt.domain.errors import BadArgument, WrongType
from litgpt.domain.secrets import token_of


def _a_name(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str):
        raise WrongType("model", value, "a name or a path, as a string")
    if not value.strip() or "\0" in value:
        raise BadArgument("model", value, "a name such as 'smollm2', a path or a Hub repository")


@attrs.frozen
class ModelReference:
    """A name, and which of the things behind it is meant.

    Attributes:
        name: A folder, a file, a package's short name or a Hub repository.
        revision: A branch, tag or commit of the repository; None is its main branch.
        offline: True never asks the Hub, False may; None does as huggingface_hub's environment says.
        token: What the Hub knows the caller by; None is the one huggingface_hub finds by itself.

    """

    name: str = attrs.field(validator=_a_name)
    revision: str | None = None
    offline: bool | None = None
    token: str | None = attrs.field(default=None, repr=False, converter=token_of)

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name} at {self.revision}"
