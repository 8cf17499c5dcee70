"""Find the sequence that shares the longest prefix with a prompt."""

from collections.abc import Collection
from typing import Generic, TypeVar

import attrs

from litgpt.domain.common_prefix import common_prefix_length

EntryT = TypeVar("EntryT")


@attrs.define(eq=False)
class _Node(Generic[EntryT]):
    """The tokens from the parent's last one on, and the entries that continue with them, oldest first."""

    tokens: list[int] = attrs.field(factory=list)
    children: "dict[int, _Node[EntryT]]" = attrs.field(factory=dict)
    entries: dict[int, EntryT] = attrs.field(factory=dict)


@attrs.define(eq=False)
class PrefixTree(Generic[EntryT]):
    """A radix tree of token sequences, each with an entry."""

    _root: _Node[EntryT] = attrs.field(factory=_Node, init=False, repr=False)

    @property
    def is_empty(self) -> bool:
        return not self._root.children

    def insert(self, tokens: list[int], entry: EntryT) -> None:
        node, at = self._root, 0
        while at < len(tokens):
            child = node.children.get(tokens[at])
            if child is None:
                child = node.children[tokens[at]] = _Node(tokens[at:])
            else:
                common = common_prefix_length(child.tokens, tokens, at)
                if common < len(child.tokens):
                    child = node.children[tokens[at]] = _split(child, common)
            child.entries[id(entry)] = entry
            node, at = child, at + len(child.tokens)

    def remove(self, tokens: list[int], entry: EntryT) -> None:
        """Remove an entry that was inserted with these tokens."""
        node, at = self._root, 0
        while at < len(tokens):
            child = node.children[tokens[at]]
            del child.entries[id(entry)]
            if not child.entries:
                del node.children[tokens[at]]
                return
            node, at = child, at + len(child.tokens)

    def matches(self, tokens: list[int]) -> list[tuple[int, Collection[EntryT]]]:
        """Return the lengths of common prefixes with the entries that have them, the longest first."""
        node, at = self._root, 0
        found: list[tuple[int, Collection[EntryT]]] = []
        while at < len(tokens) and (child := node.children.get(tokens[at])) is not None:
            common = common_prefix_length(child.tokens, tokens, at)
            node, at = child, at + common
            found.append((at, child.entries.values()))
            if common < len(child.tokens):
                break
        return found[::-1]


def _split(node: _Node[EntryT], length: int) -> _Node[EntryT]:
    """Return a node of the first `length` tokens, with the rest of the node as its child."""
    parent = _Node(node.tokens[:length], {node.tokens[length]: node}, dict(node.entries))
    node.tokens = node.tokens[length:]
    return parent
