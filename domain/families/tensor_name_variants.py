"""Tensor names with additional or missing prefixes.

A model saved inside a wrapper has the wrapper's prefix (`module.` of DistributedDataParallel, `_orig_mod.` of
torch.compile), and a base model saved without its head lacks the base prefix (`layers.0.…` instead of
`model.layers.0.…`). As in transformers, both are corrected on loading.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import attrs

from litgpt.domain.weights.mapping import SourceSlice, WeightMapping

_WRAPPER_PREFIXES = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Name parts that torch.compile, FSDP and activation checkpointing insert wherever they wrap a module."""

_LEADING_PREFIXES = frozenset(
    {"module", "_forward_module", "base_model", "language_model", "model", "transformer"}
)
"""Leading name parts of wrappers, PEFT and composite models."""


@attrs.frozen
class TensorNameVariants:
    """A family's tensor names with `{}` in place of each number, and the prefixes before the layers."""

    generic: frozenset[str]
    prefixes: tuple[str, ...]

    @classmethod
    def from_mappings(cls, mappings: Iterable[WeightMapping]) -> "TensorNameVariants":
        generic = frozenset(_generic(name) for rule in mappings for name in _names(rule))
        levels: dict[str, None] = {}
        for name in sorted(generic):
            before, layered, _ = name.partition(".{}")
            level = before.rpartition(".")[0]
            if layered and level:
                levels |= {level: None, level.partition(".")[0]: None}
        return cls(generic, tuple(levels))

    def align(self, names: Iterable[str], is_unused: Callable[[str], bool]) -> dict[str, str]:
        """Return a mapping from the family's tensor names to the checkpoint's `names`.

        Ambiguous names are left unchanged: if the corrected name is also in the checkpoint, or if two names
        would get the same corrected name. Names for which `is_unused` is true are not corrected.
        """
        corrected = {name: name if is_unused(name) else self._canonical(name) for name in names}
        counts = Counter(corrected.values())
        return {
            usual if usual == name or (counts[usual] == 1 and usual not in corrected) else name: name
            for name, usual in corrected.items()
        }

    def _canonical(self, name: str) -> str:
        return next((variant for variant in self._variants(name) if _generic(variant) in self.generic), name)

    def _variants(self, name: str) -> Iterator[str]:
        yield name
        parts = [part for part in name.split(".") if part not in _WRAPPER_PREFIXES]
        while parts:
            rest = ".".join(parts)
            yield rest
            for level in self.prefixes:
                yield f"{level}.{rest}"
            if parts[0] not in _LEADING_PREFIXES:
                return
            parts = parts[1:]


def _names(mapping: WeightMapping) -> Iterator[str]:
    for source in mapping.hf_names:
        name = source.name if isinstance(source, SourceSlice) else source
        yield name.replace("{piece}", "{}").replace("{sublayer}", "{}")


def _generic(name: str) -> str:
    return ".".join("{}" if part.isdigit() else part for part in name.split("."))
