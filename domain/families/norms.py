"""Read norms from a config."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.architecture import Norm, QkNorm
from litgpt.domain.families.settings import Key, Settings


@attrs.frozen(kw_only=True)
class RmsNorm:
    """A family's RMSNorm settings; `eps` is a setting or a constant."""

    eps: Key | float = Key("rms_norm_eps", 1e-6)
    unit_offset: bool = False
    weight: bool = True

    def read(self, settings: Settings) -> Norm:
        return Norm(
            kind="rms", eps=settings.number(self.eps), unit_offset=self.unit_offset, weight=self.weight
        )


@attrs.frozen(kw_only=True)
class LayerNorm:
    """A family's LayerNorm settings; `eps` is a setting or a constant."""

    eps: Key | float = Key("layer_norm_eps", 1e-5)
    unit_offset: bool = False
    weight: Key | bool = True
    bias: Key | bool = True

    def read(self, settings: Settings) -> Norm:
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
    """A family's settings of `QkNorm`."""

    norm: AnyNorm = RmsNorm()
    over: Literal["head", "heads", "all"] = "head"
    after_rotary: bool = False
    enabled: Key | bool = True

    def read(self, settings: Settings) -> QkNorm | None:
        """Return the normalization of queries and keys, or None if disabled."""
        if not settings.flag(self.enabled):
            return None
        return QkNorm(norm=self.norm.read(settings), over=self.over, after_rotary=self.after_rotary)
