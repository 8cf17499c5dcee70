"""Read per-layer embeddings (Gemma 3n and 4) from a config."""

import attrs

from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import parse_activation
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.model import NormSpec, PerLayerEmbeddingSpec, PerLayerInputSpec
from litgpt.domain.weights.mapping import WeightMapping

PER_LAYER_WEIGHTS = (
    WeightMapping("transformer.per_layer.embedding.weight", ("model.embed_tokens_per_layer.weight",)),
    WeightMapping("transformer.per_layer.proj.weight", ("model.per_layer_model_projection.weight",)),
    WeightMapping("transformer.per_layer.norm.weight", ("model.per_layer_projection_norm.weight",)),
    layer_tensor("input.gate.weight", "per_layer_input_gate.weight"),
    layer_tensor("input.proj.weight", "per_layer_projection.weight"),
    layer_tensor("input.norm.weight", "post_per_layer_input_norm.weight"),
)
"""Mapping rules of the per-layer embedding and of each layer's input from it."""


@attrs.frozen(kw_only=True)
class PerLayerSchema:
    """A family's settings of per-layer embeddings; a `hidden_size_per_layer` of 0 disables them."""

    hidden_size_per_layer: ConfigField = ConfigField("hidden_size_per_layer_input", 256)
    vocab_size: ConfigField = ConfigField("vocab_size_per_layer_input", 262_144)
    activation: ConfigField = ConfigField("hidden_act", "gelu_pytorch_tanh")

    def read(self, config: HFConfig, norm: NormSpec) -> PerLayerEmbeddingSpec | None:
        if not config.get(self.hidden_size_per_layer):
            return None
        return PerLayerEmbeddingSpec(
            hidden_size_per_layer=config.integer(self.hidden_size_per_layer),
            vocab_size=config.integer(self.vocab_size),
            norm=norm,
        )

    def read_layer_input(self, config: HFConfig, norm: NormSpec) -> PerLayerInputSpec | None:
        if not config.get(self.hidden_size_per_layer):
            return None
        return PerLayerInputSpec(
            hidden_size_per_layer=config.integer(self.hidden_size_per_layer),
            activation=parse_activation(config, self.activation),
            norm=norm,
        )
