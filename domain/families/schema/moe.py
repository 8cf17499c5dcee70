"""Read mixtures of experts from a config."""

from typing import TypeAlias

import attrs

from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema, MLPSchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.model import (
    DenseAndMoESpec,
    FeedForwardSpec,
    GatedMLPSpec,
    MLPSpec,
    MoESpec,
    RouterSpec,
    ShortcutMoESpec,
)
from litgpt.domain.model.moe import ScoringFunc


@attrs.frozen(kw_only=True)
class RouterSchema:
    """A family's settings of `RouterSpec`.

    `scale_logits_by_hidden_size` sets the factor of the logits to the inverse square root of the hidden size.
    """

    scoring_func: ConfigField | ScoringFunc = "softmax"
    norm_topk_prob: ConfigField | bool = True
    routed_scaling_factor: ConfigField | float = 1.0
    score_correction_bias: ConfigField | bool = False
    n_group: ConfigField | None = None
    topk_group: ConfigField | None = None
    excluded_score: float | None = None
    group_score_top_k: int = 2
    bias: bool = False
    jitter: ConfigField | None = None
    weights_before_experts: bool = False
    norm: RMSNormSchema | None = None
    scale_logits_by_hidden_size: bool = False
    expert_scale: bool = False

    def read(self, config: HFConfig, num_experts: int) -> RouterSpec:
        groups = config.integer(self.n_group) if self.n_group else 1
        if num_experts % groups and self.n_group is not None:
            config.raise_invalid(self.n_group, f"a divisor of the number of experts ({num_experts})")
        return RouterSpec(
            scoring_func=self._scoring_func(config),
            norm_topk_prob=config.flag(self.norm_topk_prob),
            routed_scaling_factor=config.number(self.routed_scaling_factor),
            score_correction_bias=config.flag(self.score_correction_bias),
            n_group=groups,
            topk_group=config.integer(self.topk_group) if self.topk_group else 1,
            excluded_score=self.excluded_score,
            group_score_top_k=self.group_score_top_k,
            bias=self.bias,
            jitter_eps=2 * config.number_or_zero(self.jitter) if self.jitter else 0.0,
            weights_before_experts=self.weights_before_experts,
            norm=self.norm.read(config) if self.norm else None,
            logit_factor=float(config.integer(ConfigField("hidden_size")) ** -0.5)
            if self.scale_logits_by_hidden_size
            else 1.0,
            expert_scale=self.expert_scale,
        )

    def _scoring_func(self, config: HFConfig) -> ScoringFunc:
        if not isinstance(self.scoring_func, ConfigField):
            return self.scoring_func
        match config.get(self.scoring_func):
            case "softmax":
                return "softmax"
            case "sigmoid":
                return "sigmoid"
            case other:
                raise config.unsupported(self.scoring_func.name, other)


@attrs.frozen(kw_only=True)
class MoESchema:
    """A family's settings of a mixture of experts, and of the layers that have one.

    Attributes:
        num_experts: Settings with the number of experts; the first one that is present is used.
        shared_expert: The shared expert; a size of 0 means that there is none.
        num_shared_experts: Setting that multiplies the size of the shared expert.
        num_identity_experts: Setting with the number of further experts that return their input.
        dense: MLP settings of the layers without experts.
        layer_types: Setting with `dense` or `sparse` for each layer; if it is set, no other setting is read.
        moe_layers: Setting with the list of MoE layers.
        shared_expert_scale: Factor of the shared expert's output.
        first_moe_layer: The first MoE layer, or its setting.
        moe_every: Setting with the period of MoE layers; the last layer of each period has experts.
        mlp_only_layers: Setting with the list of layers without experts.
    """

    num_experts: tuple[ConfigField, ...] = (
        ConfigField("num_experts", None),
        ConfigField("num_local_experts", None),
        ConfigField("n_routed_experts"),
    )
    num_experts_per_token: ConfigField = ConfigField("num_experts_per_tok")
    expert: GatedMLPSchema | MLPSchema = GatedMLPSchema(
        intermediate_size=ConfigField("moe_intermediate_size")
    )
    router: RouterSchema = RouterSchema()
    shared_expert: GatedMLPSchema | MLPSchema | None = None
    num_shared_experts: ConfigField | None = None
    shared_expert_gate: bool = False
    shared_expert_scale: ConfigField | float = 1.0
    num_identity_experts: ConfigField | None = None
    dense: GatedMLPSchema = GatedMLPSchema()
    layer_types: ConfigField | None = None
    moe_layers: ConfigField | None = None
    first_moe_layer: ConfigField | int | None = None
    moe_every: ConfigField | None = None
    mlp_only_layers: ConfigField | None = None

    def read(self, config: HFConfig, layer: int) -> FeedForwardSpec:
        if not self._is_moe_layer(config, layer):
            return self.dense.read(config, layer)
        present = [key for key in self.num_experts if config.has_value(key.name)]
        count = config.integer(present[0] if present else self.num_experts[-1])
        chosen = config.integer(self.num_experts_per_token)
        identity = self._num_identity_experts(config)
        if chosen > count + identity:
            config.raise_invalid(
                self.num_experts_per_token, f"at most {count + identity}, the number of experts"
            )
        router = self.router.read(config, count)
        selectable = (count + identity) // router.n_group * min(router.n_group, router.topk_group)
        if chosen > selectable:
            config.raise_invalid(
                self.num_experts_per_token,
                f"at most {selectable}, the number of experts in the selected groups",
            )
        shared = self._shared_expert(config, layer)
        return MoESpec(
            num_experts=count,
            num_experts_per_token=chosen,
            expert=self.expert.read(config, layer),
            router=router,
            shared_expert=shared,
            shared_expert_gate=self.shared_expert_gate and shared is not None,
            shared_expert_scale=config.number(self.shared_expert_scale),
            num_identity_experts=identity,
        )

    def _num_identity_experts(self, config: HFConfig) -> int:
        if self.num_identity_experts is None or config.get(self.num_identity_experts) == 0:
            return 0
        return config.integer(self.num_identity_experts)

    def _shared_expert(self, config: HFConfig, layer: int) -> GatedMLPSpec | MLPSpec | None:
        size = None if self.shared_expert is None else self.shared_expert.intermediate_size
        if self.shared_expert is None or (size is not None and config.get(size) == 0):
            return None
        if self.num_shared_experts is not None and config.get(self.num_shared_experts) == 0:
            return None
        expert = self.shared_expert.read(config, layer)
        times = config.integer(self.num_shared_experts) if self.num_shared_experts else 1
        return attrs.evolve(expert, intermediate_size=expert.intermediate_size * times)

    def _is_moe_layer(self, config: HFConfig, layer: int) -> bool:
        if self.layer_types is not None and (kinds := config.get(self.layer_types)) is not None:
            if not isinstance(kinds, list) or len(kinds) <= layer or kinds[layer] not in ("dense", "sparse"):
                config.raise_invalid(self.layer_types, "a list with `dense` or `sparse` for each layer")
            return bool(kinds[layer] == "sparse")
        if self.moe_layers is not None and (listed := config.get(self.moe_layers)) is not None:
            if not isinstance(listed, list):
                config.raise_invalid(self.moe_layers, "a list of layers")
            return layer in listed
        first = self.first_moe_layer
        if first is not None and layer < (first if isinstance(first, int) else int(config.get(first))):
            return False
        if self.mlp_only_layers is not None and layer in config.get(self.mlp_only_layers):
            return False
        return self.moe_every is None or (layer + 1) % config.integer(self.moe_every) == 0


@attrs.frozen(kw_only=True)
class DenseAndMoESchema:
    """A family's settings of a dense MLP with an optional parallel MoE, each between norms (`norm`).

    `enabled` is the setting for whether there are experts.
    """

    dense: GatedMLPSchema
    moe: MoESchema
    enabled: ConfigField
    norm: RMSNormSchema = RMSNormSchema()

    def read(self, config: HFConfig, layer: int) -> FeedForwardSpec:
        dense = self.dense.read(config, layer)
        sparse = self.moe.read(config, layer) if config.flag(self.enabled) else None
        if not isinstance(sparse, MoESpec):
            return dense
        return DenseAndMoESpec(dense=dense, moe=sparse, norm=self.norm.read(config))


@attrs.frozen(kw_only=True)
class ShortcutMoESchema:
    """A family's settings of dense MLPs, and of the MoE beside those of layers 0, 2, 4, …."""

    dense: GatedMLPSchema
    moe: MoESchema

    def read(self, config: HFConfig, layer: int) -> FeedForwardSpec:
        dense = self.dense.read(config, layer)
        sparse = None if layer % 2 else self.moe.read(config, layer)
        return ShortcutMoESpec(dense=dense, moe=sparse) if isinstance(sparse, MoESpec) else dense


AnyMLPSchema: TypeAlias = MLPSchema | GatedMLPSchema | MoESchema | DenseAndMoESchema | ShortcutMoESchema
