"""A mapping whose values are imported when they are read."""

from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import TypeVar

import attrs

ValueT = TypeVar("ValueT")


@attrs.frozen(eq=False)
class LazyValues(Mapping[str, ValueT]):
    """Values by key, of which a program needs few: importing them all would take a tenth of a second.

    Attributes:
        package: The package of their modules.
        names: The module and the name of each value, such as `llama:LLAMA`.
    """

    package: str
    names: Mapping[str, str]

    def __getitem__(self, key: str) -> ValueT:
        value: ValueT = resolve_name(f"{self.package}.{self.names[key]}")
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
