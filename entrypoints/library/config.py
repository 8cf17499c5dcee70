"""`llm.config`: the architecture under LitGPT's attribute names."""

import attrs

from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.model import Architecture, AttentionSpec, Mamba2Spec, MLASpec, ParallelMixerSpec


@attrs.frozen
class Config:
    """A view of an architecture under LitGPT's attribute names; sizes are those of the first layer.

    A model without heads has 0 of them.
    """

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
        return self._heads[0]

    @property
    def n_query_groups(self) -> int:
        return self._heads[1]

    @property
    def head_size(self) -> int:
        return self._heads[2]

    @property
    def intermediate_size(self) -> int:
        return next((size for it in self.architecture.layers if (size := it.mlp.intermediate_size)), 0)

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
    def _heads(self) -> tuple[int, int, int]:
        """Return the numbers of query and key-value heads and their size, of attention if there is any."""
        mixers = [layer.mixer for layer in self.architecture.layers]
        mixers = [mixer.attention if isinstance(mixer, ParallelMixerSpec) else mixer for mixer in mixers]
        for kinds in ((AttentionSpec, MLASpec), (Mamba2Spec,)):
            for mixer in mixers:
                if isinstance(mixer, kinds):
                    return mixer.num_heads, mixer.num_kv_heads, mixer.head_dim
        return 0, 0, 0
