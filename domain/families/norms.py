"""How norms are read from a config."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.architecture import Norm, QkNorm
from litgpt.domain.families.settings import Key, Settings


@attrs.frozen(kw_only=True)
class RmsNorm:
    """How a family writes its RMSNorm; `eps` is a setting, or a number that no config says."""

    eps: Key | float = Key("rms_norm_eps", 1e-6)
    unit_offset: bool = False
    weight: bool = True

    def read(self, settings: Settings) -> Norm:
        """Return the norm."""
        return Norm(
            kind="rms", eps=settings.number(self.eps), unit_offset=self.unit_offset, weight=self.weight
        )


@attrs.frozen(kw_only=True)
class LayerNorm:
    """How a family writes its LayerNorm; `eps` is a setting, or a number that no config says."""

    eps: Key | float = Key("layer_norm_eps", 1e-5)
    unit_offset: bool = False
    weight: Key | bool = True
    bias: Key | bool = True

    def read(self, settings: Settings) -> Norm:
        """Return the norm."""
        return Norm(
            kind="layer",
            eps=settings.number(self.eps),
            unit_offset=self.unit_offset,
            weight=settings.flag(self.weight),
            bias=settings.flag(self.bias),
        )


AnyNorm: TypeAlias = RmsNorm | LayerNorm


@attrs.frozen(kw_only=True)
class QkNorms:
    """How a family normalises queries and keys.

    Attributes:
        norm: By what.
        over: What it is taken over, as `QkNorm.over` says.
        after_rotary: Whether they are rotated before.
        enabled: Whether they are at all.

    """

    norm: AnyNorm = RmsNorm()
    over: Literal["head", "heads", "all"] = "head"
    after_rotary: bool = False
    enabled: Key | bool = True

    def read(self, settings: Settings) -> QkNorm | None:
        """Return how; None does not."""
        if not settings.flag(self.enabled):
            return None
        return QkNorm(norm=self.norm.read(settings), over=self.over, after_rotary=self.after_rotary)
