"""Read per-layer embeddings (Gemma 3n and 4) from a config."""

import attrs

from litgpt.domain.architecture import LayerEmbeddings, LayerInput, Norm
from litgpt.domain.families.feedforward import activation
from litgpt.domain.families.names import layer_rule
from litgpt.domain.families.settings import Key, Settings
from litgpt.domain.weights import Rule

PER_LAYER = (
    Rule("transformer.per_layer.embedding.weight", ("model.embed_tokens_per_layer.weight",)),
    Rule("transformer.per_layer.proj.weight", ("model.per_layer_model_projection.weight",)),
    Rule("transformer.per_layer.norm.weight", ("model.per_layer_projection_norm.weight",)),
    layer_rule("input.gate.weight", "per_layer_input_gate.weight"),
    layer_rule("input.proj.weight", "per_layer_projection.weight"),
    layer_rule("input.norm.weight", "post_per_layer_input_norm.weight"),
)
"""Mapping rules of the per-layer embedding and of each layer's input from it."""


@attrs.frozen(kw_only=True)
class Inputs:
    """A family's settings of per-layer embeddings; a `size` of 0 disables them."""

    size: Key = Key("hidden_size_per_layer_input", 256)
    vocab_size: Key = Key("vocab_size_per_layer_input", 262_144)
    activation: Key = Key("hidden_act", "gelu_pytorch_tanh")

    def read(self, settings: Settings, norm: Norm) -> LayerEmbeddings | None:
        """Return the embedding, or None if disabled."""
        if not settings.get(self.size):
            return None
        return LayerEmbeddings(
            size=settings.integer(self.size), vocab_size=settings.integer(self.vocab_size), norm=norm
        )

    def of_layer(self, settings: Settings, norm: Norm) -> LayerInput | None:
        """Return a layer's per-layer input, or None if disabled."""
        if not settings.get(self.size):
            return None
        return LayerInput(
            size=settings.integer(self.size), activation=activation(settings, self.activation), norm=norm
        )
