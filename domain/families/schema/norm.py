"""Read norms from a config."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.model import NormSpec, QkNormSpec


@attrs.frozen(kw_only=True)
class RMSNormSchema:
    """A family's RMSNorm settings; `eps` is a setting or a constant."""

    eps: ConfigField | float = ConfigField("rms_norm_eps", 1e-6)
    unit_offset: bool = False
    weight: bool = True

    def read(self, config: HFConfig) -> NormSpec:
        return NormSpec(
            kind="rms", eps=config.number(self.eps), unit_offset=self.unit_offset, weight=self.weight
        )


@attrs.frozen(kw_only=True)
class LayerNormSchema:
    """A family's LayerNorm settings; `eps` is a setting or a constant.

    If the setting `rms_norm_eps` is given and set, the norm is an RMSNorm with this epsilon instead.
    """

    eps: ConfigField | float = ConfigField("layer_norm_eps", 1e-5)
    rms_norm_eps: ConfigField | None = None
    unit_offset: bool = False
    weight: ConfigField | bool = True
    bias: ConfigField | bool = True

    def read(self, config: HFConfig) -> NormSpec:
        if (eps := config.optional(self.rms_norm_eps)) is not None:
            return NormSpec(kind="rms", eps=eps)
        return NormSpec(
            kind="layer",
            eps=config.number(self.eps),
            unit_offset=self.unit_offset,
            weight=config.flag(self.weight),
            bias=config.flag(self.bias),
        )


AnyNormSchema: TypeAlias = RMSNormSchema | LayerNormSchema


@attrs.frozen(kw_only=True)
class QkNormSchema:
    """A family's settings of `QkNormSpec`."""

    norm: AnyNormSchema = RMSNormSchema()
    scope: Literal["head", "heads", "all"] = "head"
    after_rope: bool = False
    enabled: ConfigField | bool = True

    def read(self, config: HFConfig) -> QkNormSpec | None:
        if not config.flag(self.enabled):
            return None
        return QkNormSpec(norm=self.norm.read(config), scope=self.scope, after_rope=self.after_rope)
