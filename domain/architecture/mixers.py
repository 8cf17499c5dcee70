"""What mixes tokens in a layer."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.architecture.absent import NothingBesides
from litgpt.domain.architecture.delta import GatedDelta
from litgpt.domain.architecture.kept import Kept
from litgpt.domain.architecture.norms import Norm
from litgpt.domain.architecture.positions import Alibi, QueryScaling, Rotary
from litgpt.domain.messages import brief_repr


@attrs.frozen(kw_only=True)
class QkNorm:
    """How queries and keys are normalised.

    Attributes:
        norm: By what.
        over: `head`: each head alone, all with the same weights; `heads`: each alone, each with weights of
            its own; `all`: all heads of a token together.
        after_rotary: Whether they are rotated before.

    """

    norm: Norm
    over: Literal["head", "heads", "all"] = "head"
    after_rotary: bool = False


@attrs.frozen(kw_only=True)
class Attention:
    """Causal softmax attention in which groups of query heads share a key-value head.

    Attributes:
        heads: Query heads.
        groups: Key-value heads; divides `heads` (Ainslie et al. 2023, arXiv:2305.13245).
        head_size: Numbers in a head.
        scale: Multiplies the scores; usually `head_size ** -0.5`.
        rotary: How positions enter; None: they do not, in this way.
        query_scaling: How queries grow with their position; None: they do not.
        alibi: How scores fall with distance; None: they do not.
        window: How many tokens a token sees, itself included; None sees all before it.
        chunked: Whether windows do not move with the token: a text is cut into chunks of `window` tokens, and
            a token sees those of its own (Llama 4).
        qkv_bias: Whether queries, keys and values have a bias.
        output_bias: Whether the projection after attention has one.
        qk_norm: How queries and keys are normalised; None does not.
        clip: Queries, keys and values are kept within plus and minus this (OLMo); None leaves them.
        cap: Scores are squashed into plus and minus this by tanh (Gemma 2); None leaves them.
        sinks: Whether each head has a learnt score that takes its share of attention and gives nothing
            (gpt-oss; after Xiao et al. 2023, arXiv:2309.17453).
        value_norm: How each head's values are normalised; None leaves them.
        values_are_keys: Whether values are what keys are before they are normalised and rotated (Gemma 4).
        lender: The layer whose keys and values this one looks at, having none of its own (Gemma 3n); None has
            its own.
        gated: Whether each number that is gathered passes a gate of its own, a sigmoid of what the token is
            (Qwen 3 Next).

    """

    heads: int
    groups: int
    head_size: int
    scale: float
    rotary: Rotary | None
    query_scaling: QueryScaling | None = None
    alibi: Alibi | None = None
    window: int | None = None
    chunked: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: QkNorm | None = None
    clip: float | None = None
    cap: float | None = None
    sinks: bool = False
    value_norm: Norm | None = None
    values_are_keys: bool = False
    lender: int | None = None
    gated: bool = False

    __repr__ = brief_repr

    @property
    def qkv_rows(self) -> tuple[int, int, int]:
        """The rows of queries, keys and values in the joined projection, in that order."""
        own = 0 if self.lender is not None else self.groups * self.head_size
        return (self.heads * self.head_size, own, 0 if self.values_are_keys else own)

    @property
    def kept(self) -> Kept:
        """What a cache keeps of each token."""
        own = 0 if self.lender is not None else self.groups
        return Kept(heads=own, key=self.head_size, value=self.head_size)

    @property
    def numbers_per_token(self) -> int:
        """How many numbers are alive at once for each token, about."""
        return 2 * sum(self.qkv_rows) + self.qkv_rows[0]


@attrs.frozen(kw_only=True)
class LatentAttention(NothingBesides):
    """Attention whose keys and values are made from a small vector that all heads share.

    Source: DeepSeek-AI 2024, arXiv:2405.04434, section 2.1.

    Attributes:
        heads: Query heads; each has keys and values of its own, made from the shared vector.
        plain_size: Numbers in a query or key that are not rotated.
        rotary: How positions enter: by `rotary.size` more numbers in each query, and as many that all keys
            share.
        value_size: Numbers in a value.
        latent_size: Numbers in the shared vector.
        query_size: Numbers in the vector that queries are made from; None makes them from the stream.
        scale: Multiplies the scores.
        norm: Of the shared vector and of the queries' vector.
        bias: Whether the projections to those vectors, and the last one, have a bias.

    """

    heads: int
    plain_size: int
    rotary: Rotary
    value_size: int
    latent_size: int
    query_size: int | None
    scale: float
    norm: Norm
    bias: bool = False

    __repr__ = brief_repr

    @property
    def groups(self) -> int:
        """Key-value heads: as many as query heads."""
        return self.heads

    @property
    def head_size(self) -> int:
        """Numbers in a query or a key."""
        return self.plain_size + self.rotary.size

    @property
    def kept(self) -> Kept:
        """What a cache keeps of each token: the shared vector and the rotated key; values come from it."""
        return Kept(heads=1, key=self.latent_size + self.rotary.size, value=0)

    @property
    def numbers_per_token(self) -> int:
        """How many numbers are alive at once for each token, about."""
        return self.heads * (3 * self.head_size + 2 * self.value_size)


Mixer: TypeAlias = Attention | LatentAttention | GatedDelta
