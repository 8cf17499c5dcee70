"""Names of tensors as tools leave them: with a level too many, or without the usual first one.

A model that was saved from inside a wrapper carries the wrapper's name (`module.` of DistributedDataParallel,
`_orig_mod.` of torch.compile), and one that was saved without its head lacks the level of the head
(`layers.0.…` for `model.layers.0.…`). transformers adds and removes that level when it loads; so does this.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import attrs

from litgpt.domain.weights import Part, Rule

_ANYWHERE = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Levels that torch.compile, FSDP and activation checkpointing insert wherever they wrap a module."""

_FIRST = frozenset({"module", "_forward_module", "base_model", "language_model", "model", "transformer"})
"""Levels that may stand before a whole model: those of wrappers, of PEFT, and of models around a model."""


@attrs.frozen
class Spelling:
    """The names that a family's tensors have.

    Attributes:
        generic: The names, with `{}` for each number.
        levels: What stands before the names of its layers, such as `model`.

    """

    generic: frozenset[str]
    levels: tuple[str, ...]

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> "Spelling":
        """Return the names that some rules read."""
        generic = frozenset(_generic(name) for rule in rules for name in _names(rule))
        levels: dict[str, None] = {}
        for name in sorted(generic):
            before, layered, _ = name.partition(".{}")
            level = before.rpartition(".")[0]
            if layered and level:
                levels |= {level: None, level.partition(".")[0]: None}
        return cls(generic, tuple(levels))

    def align(self, names: Iterable[str], is_unused: Callable[[str], bool]) -> dict[str, str]:
        """Return names as the family has them, and as they are.

        A name that could stand for one that is there itself, or that another could stand for as well, is left
        as it is.

        Args:
            names: Those of a checkpoint.
            is_unused: Whether a tensor of a name is of no use, however it is spelled.

        """
        own = {name: name if is_unused(name) else self._usual(name) for name in names}
        counted = Counter(own.values())
        return {
            usual if usual == name or (counted[usual] == 1 and usual not in own) else name: name
            for name, usual in own.items()
        }

    def _usual(self, name: str) -> str:
        return next((one for one in self._spellings(name) if _generic(one) in self.generic), name)

    def _spellings(self, name: str) -> Iterator[str]:
        yield name
        parts = [part for part in name.split(".") if part not in _ANYWHERE]
        while parts:
            rest = ".".join(parts)
            yield rest
            for level in self.levels:
                yield f"{level}.{rest}"
            if parts[0] not in _FIRST:
                return
            parts = parts[1:]


def _names(rule: Rule) -> Iterator[str]:
    for one in rule.theirs:
        yield (one.name if isinstance(one, Part) else one).replace("{piece}", "{}")


def _generic(name: str) -> str:
    return ".".join("{}" if part.isdigit() else part for part in name.split("."))
