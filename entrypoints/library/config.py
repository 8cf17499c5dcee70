"""`llm.config`: the architecture under LitGPT's attribute names."""

import attrs

from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.model import Architecture, AttentionSpec, MLASpec


@attrs.frozen
class Config:
    """A view of an architecture under LitGPT's attribute names; sizes are those of the first layer."""

    name: str
    architecture: Architecture

    def __repr__(self) -> str:
        return summary_repr(
            "Config",
            name=self.name,
            family=self.architecture.family,
            n_layer=self.n_layer,
            n_embd=self.n_embd,
            vocab_size=self.vocab_size,
            block_size=self.block_size,
        )

    @property
    def n_layer(self) -> int:
        return len(self.architecture.layers)

    @property
    def n_head(self) -> int:
        return self._attention.num_heads

    @property
    def n_query_groups(self) -> int:
        return self._attention.num_kv_heads

    @property
    def head_size(self) -> int:
        return self._attention.head_dim

    @property
    def intermediate_size(self) -> int:
        return self.architecture.layers[0].mlp.intermediate_size

    @property
    def n_embd(self) -> int:
        return self.architecture.hidden_size

    @property
    def block_size(self) -> int:
        return self.architecture.context_length

    @property
    def vocab_size(self) -> int:
        return self.architecture.vocab_size

    @property
    def padded_vocab_size(self) -> int:
        """The number of embedding rows, which is the size of the logits."""
        return self.architecture.vocab_size

    @property
    def _attention(self) -> AttentionSpec | MLASpec:
        mixers = (layer.mixer for layer in self.architecture.layers)
        return next(mixer for mixer in mixers if isinstance(mixer, (AttentionSpec, MLASpec)))
