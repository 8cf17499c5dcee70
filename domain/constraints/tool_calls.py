"""Tool calls in an answer whose other text is free."""

from collections.abc import Callable, Sequence
from typing import Self

import attrs

from litgpt.domain.constraints.call_triggers import CallTrigger
from litgpt.domain.constraints.token_constraint import TokenConstraint


@attrs.define(kw_only=True)
class ToolCallConstraint:
    """Constrains an answer from where a call begins to its end; it implements `TokenConstraint`.

    Elsewhere, no mask is computed.

    Attributes:
        triggers: Find where calls begin.
        calls: The constraint on what follows a trigger.
        text_of: Returns the text of a token, for the triggers.
        is_last: Whether the answer ends after the first calls.
    """

    triggers: tuple[CallTrigger, ...]
    calls: TokenConstraint = attrs.field(repr=False)
    text_of: Callable[[int], bytes] = attrs.field(repr=False)
    is_last: bool = False
    _running: TokenConstraint | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.triggers = tuple(trigger.copy() for trigger in self.triggers)

    @property
    def is_finished(self) -> bool:
        return self._running is not None and self._running.is_finished

    def mask(self) -> bytes | frozenset[int]:
        if self._running is not None:
            return self._running.mask()
        return frozenset[int]().union(*(trigger.excluded() for trigger in self.triggers))

    def forced(self) -> Sequence[int]:
        return () if self._running is None else self._running.forced()

    def advance(self, token: int) -> None:
        if self._running is not None:
            self._running.advance(token)
            if self._running.is_finished and not self.is_last:
                self._running = None
                self.triggers = tuple(trigger.copy() for trigger in self.triggers)
            return
        text = self.text_of(token)
        for trigger in self.triggers:
            begun = trigger.push(text)
            if begun is not None:
                self._running = self.calls.copy()
                for earlier in begun:
                    self._running.advance(earlier)
                return

    def copy(self) -> Self:
        """Return a copy of a constraint that has no tokens yet."""
        return attrs.evolve(self)
