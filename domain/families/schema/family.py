"""A model family: how to read its `config.json`, and the names of its tensors."""

from collections.abc import Callable, Collection, Mapping

import attrs

from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.hybrid import (
    AbsentMLPSchema,
    AnyMixerSchema,
    HybridSchema,
    MLPLayersSchema,
)
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import AnyMLPSchema, ShortcutMoESchema
from litgpt.domain.families.schema.norm import AnyNormSchema, RMSNormSchema
from litgpt.domain.families.schema.per_layer_embedding import PerLayerSchema
from litgpt.domain.families.schema.rope import max_scaled_length
from litgpt.domain.families.schema.weight_rules import matches
from litgpt.domain.model import (
    AbsentMixerSpec,
    AbsentMLPSpec,
    AltUpSpec,
    Architecture,
    DenseAndMoESpec,
    LayerSpec,
    NormedResidualSpec,
    NormSpec,
    ShortcutMoESpec,
    SinusoidalSpec,
)
from litgpt.domain.weights.mapping import WeightMapping

MAX_EXPERTS = 2**15
"""Largest total number of experts in all layers; Kimi K2 has 23,040."""


@attrs.frozen(kw_only=True)
class ResidualSchema:
    """Placement of the norms and residual connections in a layer.

    Attributes:
        pre_norm: Whether there is a norm before attention and before the MLP.
        post_norm: Whether there is a norm after each, before the residual addition.
        post_ln: Whether the norms before attention and the MLP are after the residual additions instead.
        parallel: Whether attention and the MLP run in parallel on the same residual stream.
        shared_norm: Whether parallel attention and MLP share one input norm.
        scale: Setting with the factor of both outputs before the residual addition.
        norm_gate_rank: Setting with the rank of a gate of the norms before attention and before experts.
        normed: Function of the config and a layer that reads residual connections after the norms.
    """

    pre_norm: bool = True
    post_norm: ConfigField | bool = False
    post_ln: bool = False
    parallel: ConfigField | bool = False
    shared_norm: ConfigField | bool = False
    scale: ConfigField | None = None
    norm_gate_rank: ConfigField | None = None
    normed: Callable[[HFConfig, int], NormedResidualSpec] | None = None


@attrs.frozen(kw_only=True)
class Family:
    """A model family: its structure in terms of config settings, and its tensor names.

    Attributes of `Architecture` have the same names; a `ConfigField` is the setting that holds the value.

    Attributes:
        attribute_map: The family's names of common settings, such as `n_embd` for `hidden_size`.
        num_layers: Function that returns the number of layers, for configs without `num_hidden_layers`.
        normalize_config: Function that computes further settings, which override those of the config.
        final_norm: The norm before the LM head, if it differs from `norm`; False: there is none.
        scale_embedding: Whether embeddings are multiplied by the square root of the hidden size.
        logit_divisor: Setting with the divisor of the logits.
        learned_positions: Whether there is a learned position embedding, with a row for each position.
        sinusoidal_steps: Function from the hidden size to `num_steps` of a sinusoidal position embedding.
        residuals: Residual connections by layer type, where they differ from `residual`.
        altup: Function that reads the AltUp settings.
        weights: Mapping rules from checkpoint tensors to parameters.
        alternative_weights: Alternative rules, used if the checkpoint has a tensor that they read.
        transposed_weights: Rules for tensors with swapped dimensions, used in the same case if the shapes do
            not fit the alternative rules.
        prefix_aliases: Pairs of a tensor-name prefix in some files and the usual prefix.
        unused_tensors: Patterns of tensor names that are ignored.
        unsupported_settings: Settings that change the result and are not supported unless false or absent.
    """

    model_type: str
    attribute_map: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    num_layers: Callable[[HFConfig], int] | None = None
    normalize_config: Callable[[HFConfig], Mapping[str, object]] | None = None
    attention: AnyMixerSchema = AttentionSchema()
    mlp: AnyMLPSchema | AbsentMLPSchema | MLPLayersSchema = GatedMLPSchema()
    norm: AnyNormSchema = RMSNormSchema()
    final_norm: AnyNormSchema | bool = True
    residual: ResidualSchema = ResidualSchema()
    residuals: Mapping[str, ResidualSchema] = attrs.field(factory=dict, repr=False)
    scale_embedding: ConfigField | bool = False
    embedding_scale: ConfigField | None = None
    embedding_norm: bool = False
    tie_word_embeddings: ConfigField | bool = ConfigField("tie_word_embeddings", default=False)
    lm_head_bias: ConfigField | bool = False
    logit_scale: ConfigField | None = None
    logit_divisor: ConfigField | None = None
    final_logit_softcap: ConfigField | None = None
    learned_positions: bool = False
    sinusoidal_steps: Callable[[int], int] | None = None
    position_offset: int = 0
    per_layer_inputs: PerLayerSchema | None = None
    layer_scale: bool = False
    altup: Callable[[HFConfig, NormSpec], AltUpSpec] | None = None
    context_length: ConfigField = ConfigField("max_position_embeddings", 2048)
    weights: tuple[WeightMapping, ...] = attrs.field(repr=False)
    alternative_weights: tuple[WeightMapping, ...] = attrs.field(default=(), repr=False)
    transposed_weights: tuple[WeightMapping, ...] = ()
    prefix_aliases: tuple[tuple[str, str], ...] = ()
    unused_tensors: tuple[str, ...] = ("*.rotary_emb.inv_freq",)
    unsupported_settings: tuple[str, ...] = ("quantization_config",)

    def select_weights(
        self, names: Collection[str], *, transposed: bool = False
    ) -> tuple[WeightMapping, ...]:
        """Return the mapping rules for a checkpoint with tensors of these names."""
        alternative = self.transposed_weights if transposed else self.alternative_weights
        return (*(rule for rule in alternative if matches(rule, names)), *self.weights)

    def read(self, config: HFConfig) -> Architecture:
        config = attrs.evolve(config, attribute_map=self.attribute_map)
        for name in self.unsupported_settings:
            if value := config.get(ConfigField(name, None)):
                raise config.unsupported(name, value)
        if self.num_layers is not None:
            config = attrs.evolve(
                config, values={**config.values, "num_hidden_layers": self.num_layers(config)}
            )
        config = config.with_checked_layers(config.integer(ConfigField("num_hidden_layers")))
        if self.normalize_config is not None:
            config = attrs.evolve(config, values={**config.values, **self.normalize_config(config)})
        width = config.integer(ConfigField("hidden_size"))
        layers = tuple(
            self._layer(config, number) for number in range(config.integer(ConfigField("num_hidden_layers")))
        )
        if (experts := sum(layer.mlp.num_experts for layer in layers)) > MAX_EXPERTS:
            raise config.unsupported("experts in all layers", experts)
        divisor = config.optional(self.logit_divisor)
        final_norm = self.norm if self.final_norm is True else self.final_norm
        context = config.integer(self.context_length)
        return Architecture(
            family=self.model_type,
            hidden_size=width,
            vocab_size=config.integer(ConfigField("vocab_size")),
            context_length=max(context, *(max_scaled_length(layer.mixer.rope) for layer in layers)),
            layers=layers,
            final_norm=final_norm.read(config) if isinstance(final_norm, AnyNormSchema) else None,
            tie_word_embeddings=config.flag(self.tie_word_embeddings),
            lm_head_bias=config.flag(self.lm_head_bias),
            embedding_scale=width**0.5
            if config.flag(self.scale_embedding)
            else config.optional(self.embedding_scale),
            embedding_norm=self.norm.read(config) if self.embedding_norm else None,
            logit_scale=1 / divisor if divisor else config.optional(self.logit_scale),
            final_logit_softcap=config.optional(self.final_logit_softcap),
            num_position_embeddings=context + self.position_offset if self.learned_positions else None,
            sinusoidal_positions=SinusoidalSpec(num_steps=self.sinusoidal_steps(width))
            if self.sinusoidal_steps
            else None,
            position_offset=self.position_offset,
            per_layer_embedding=self.per_layer_inputs.read(config, self.norm.read(config))
            if self.per_layer_inputs
            else None,
        )

    def _layer(self, config: HFConfig, layer: int) -> LayerSpec:
        config = config.for_layer(layer)
        norm, residual = self.norm.read(config), self.residual
        if self.residuals and isinstance(self.attention, HybridSchema):
            residual = self.residuals.get(self.attention.layer_type(config, layer), residual)
        rank = config.integer(residual.norm_gate_rank) if residual.norm_gate_rank else None
        gated = norm if rank is None else attrs.evolve(norm, gate_rank=rank)
        feed_forward, mixer = self.mlp.read(config, layer), self.attention.read(config, layer)
        without_norm = (DenseAndMoESpec, AbsentMLPSpec)  # the former has norms within
        before = residual.pre_norm and not isinstance(feed_forward, without_norm)
        parallel, post_norm = config.flag(residual.parallel), config.flag(residual.post_norm)
        shared = parallel and config.flag(residual.shared_norm)
        return LayerSpec(
            mixer=mixer,
            mlp=feed_forward,
            norm_1=gated if residual.pre_norm and not isinstance(mixer, AbsentMixerSpec) else None,
            norm_2=(gated if feed_forward.num_experts else norm) if before and not shared else None,
            post_mixer_norm=norm if post_norm else None,
            post_mlp_norm=norm if post_norm else None,
            post_ln=residual.post_ln,
            parallel_residual=parallel,
            residual_scale=config.optional(residual.scale),
            normed_residual=residual.normed(config, layer) if residual.normed else None,
            per_layer_input=self.per_layer_inputs.read_layer_input(config, norm)
            if self.per_layer_inputs
            else None,
            layer_scale=self.layer_scale,
            adds_shortcut=isinstance(self.mlp, ShortcutMoESchema)
            and not isinstance(feed_forward, ShortcutMoESpec),
            altup=self.altup(config, norm) if self.altup else None,
        )
