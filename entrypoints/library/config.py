"""`llm.config`: the architecture, under the names that LitGPT's users know."""

import attrs

from litgpt.domain.architecture import Architecture, Attention, LatentAttention
from litgpt.domain.messages import summary


@attrs.frozen
class Config:
    """A view of an architecture under LitGPT's names.

    Attributes:
        name: What the model was loaded as, without an organisation.
        architecture: What it answers from.

    """

    name: str
    architecture: Architecture

    def __repr__(self) -> str:
        return summary(
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
        """The number of layers."""
        return len(self.architecture.layers)

    @property
    def n_head(self) -> int:
        """The number of query heads, in the first layer that has attention."""
        return self._attention.heads

    @property
    def n_query_groups(self) -> int:
        """The number of key-value heads, in the first layer that has attention."""
        return self._attention.groups

    @property
    def head_size(self) -> int:
        """Numbers in a head, in the first layer that has attention."""
        return self._attention.head_size

    @property
    def intermediate_size(self) -> int:
        """The width inside the feed-forward, in the first layer."""
        return self.architecture.layers[0].feed_forward.size

    @property
    def n_embd(self) -> int:
        """Numbers per token between the layers."""
        return self.architecture.width

    @property
    def block_size(self) -> int:
        """The longest text, in tokens."""
        return self.architecture.context

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return self.architecture.vocab_size

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding: the size of the logits."""
        return self.architecture.vocab_size

    @property
    def _attention(self) -> Attention | LatentAttention:
        mixers = (layer.mixer for layer in self.architecture.layers)
        return next(one for one in mixers if isinstance(one, (Attention, LatentAttention)))
