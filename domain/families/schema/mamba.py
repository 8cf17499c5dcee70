"""Read selective state spaces from a config."""

import math
from collections.abc import Mapping

import attrs

from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import parse_activation
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.model import Mamba2Spec, MambaSpec
from litgpt.domain.validators import is_number


@attrs.frozen(kw_only=True)
class Mamba2Schema:
    """A family's settings of `Mamba2Spec`.

    Attributes:
        head_dim: Setting with the head dimension; `auto` is `expand` times the hidden size, divided by the
            number of heads.
        inner_size: Setting that replaces `expand` times the hidden size, if it is set.
        has_norm: Whether the output of each group is normalized.
        min_time_step: Setting with the least time step, used instead of `time_step_limit`.
        part_scales: Setting with the factors of the projected parts.
    """

    num_heads: ConfigField = ConfigField("mamba_n_heads", 128)
    num_groups: ConfigField = ConfigField("mamba_n_groups", 1)
    head_dim: ConfigField = ConfigField("mamba_d_head", "auto")
    expand: ConfigField = ConfigField("mamba_expand", 2)
    inner_size: ConfigField | None = None
    state_size: ConfigField = ConfigField("mamba_d_state", 256)
    conv_kernel_size: ConfigField = ConfigField("mamba_d_conv", 4)
    activation: ConfigField = ConfigField("hidden_act", "silu")
    norm: RMSNormSchema = RMSNormSchema()
    has_norm: ConfigField | bool = True
    norm_before_gate: ConfigField | bool = False
    conv_bias: ConfigField | bool = ConfigField("mamba_conv_bias", default=True)
    input_bias: ConfigField | bool = ConfigField("mamba_proj_bias", default=False)
    output_bias: ConfigField | bool = ConfigField("mamba_proj_bias", default=False)
    time_step_limit: ConfigField = ConfigField("time_step_limit", None)
    min_time_step: ConfigField | None = None
    part_scales: ConfigField | None = None

    def read(self, config: HFConfig, layer: int) -> Mamba2Spec:  # noqa: ARG002 - all layers are alike
        heads, groups = config.integer(self.num_heads), config.integer(self.num_groups)
        if heads % groups:
            config.raise_invalid(self.num_groups, f"a divisor of {self.num_heads.name} ({heads})")
        return Mamba2Spec(
            num_heads=heads,
            num_groups=groups,
            head_dim=self._head_dim(config, heads),
            state_size=config.integer(self.state_size),
            conv_kernel_size=config.integer(self.conv_kernel_size),
            activation=parse_activation(config, self.activation),
            norm=self.norm.read(config) if config.flag(self.has_norm) else None,
            norm_before_gate=config.flag(self.norm_before_gate),
            conv_bias=config.flag(self.conv_bias),
            input_bias=config.flag(self.input_bias),
            output_bias=config.flag(self.output_bias),
            time_step_limit=(config.number_or_zero(self.min_time_step), math.inf)
            if self.min_time_step
            else _range(config, self.time_step_limit),
            part_scales=self._part_scales(config),
        )

    def _head_dim(self, config: HFConfig, heads: int) -> int:
        if config.get(self.head_dim) != "auto":
            return config.integer(self.head_dim)
        if self.inner_size is not None and config.is_set(self.inner_size):
            return config.integer(self.inner_size) // heads
        return config.integer(self.expand) * config.integer(ConfigField("hidden_size")) // heads

    def _part_scales(self, config: HFConfig) -> tuple[float, ...] | None:
        if self.part_scales is None or not config.is_set(self.part_scales):
            return None
        scales = config.numbers(self.part_scales)
        if len(scales) != 5:
            config.raise_invalid(self.part_scales, "a list of five numbers")
        return scales


@attrs.frozen(kw_only=True)
class MambaSchema:
    """A family's settings of `MambaSpec`.

    Attributes:
        inner_size: Setting with the number of channels; if None or unset, `expand` times the hidden size.
        time_step_rank: Setting with the rank of time steps; `auto` is a sixteenth of the hidden size.
        inner_norm: Norm of time steps, B and C; None: no norm.
    """

    state_size: ConfigField = ConfigField("state_size", 16)
    conv_kernel_size: ConfigField = ConfigField("conv_kernel", 4)
    expand: ConfigField = ConfigField("expand", 2)
    inner_size: ConfigField | None = ConfigField("intermediate_size", None)
    time_step_rank: ConfigField = ConfigField("time_step_rank", "auto")
    activation: ConfigField = ConfigField("hidden_act", "silu")
    conv_bias: ConfigField = ConfigField("use_conv_bias", default=True)
    bias: ConfigField = ConfigField("use_bias", default=False)
    inner_norm: RMSNormSchema | None = None

    def read(self, config: HFConfig, layer: int) -> MambaSpec:  # noqa: ARG002 - all layers are alike
        width = config.integer(ConfigField("hidden_size"))
        automatic = config.get(self.time_step_rank) == "auto"
        inner = config.integer(self.expand) * width
        return MambaSpec(
            inner_size=config.integer(self.inner_size.with_default(inner)) if self.inner_size else inner,
            state_size=config.integer(self.state_size),
            time_step_rank=math.ceil(width / 16) if automatic else config.integer(self.time_step_rank),
            conv_kernel_size=config.integer(self.conv_kernel_size),
            activation=parse_activation(config, self.activation),
            norm=self.inner_norm.read(config) if self.inner_norm else None,
            conv_bias=config.flag(self.conv_bias),
            bias=config.flag(self.bias),
        )


def _range(config: HFConfig, key: ConfigField) -> tuple[float, float]:
    """Return a range, whose ends transformers writes as numbers or as `{"__float__": "Infinity"}`."""
    if (values := config.get(key)) is None:
        return 0.0, math.inf
    ends = [
        math.inf if isinstance(end, Mapping) and end.get("__float__") == "Infinity" else end
        for end in (values if isinstance(values, list) else ())
    ]
    if len(ends) != 2 or not all(end == math.inf or (is_number(end) and end >= 0) for end in ends):
        config.raise_invalid(key, "a list of two numbers that are not negative")
    return float(ends[0]), float(ends[1])
