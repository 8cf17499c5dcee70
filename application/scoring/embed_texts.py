"""Embed texts, and normalize embeddings."""

import math
from array import array
from collections.abc import Sequence

import attrs

from litgpt.domain.ports import Generator, Tokenizer
from litgpt.domain.scoring.request import Pooling


@attrs.frozen
class EmbedTexts:
    """Embeds texts with a generator."""

    tokenizer: Tokenizer
    generator: Generator

    def __call__(
        self, texts: Sequence[str], pooling: Pooling = "last", *, normalize: bool = True
    ) -> "list[array[float]]":
        """Return an embedding of each text, (D,) in float32, with a Euclidean norm of 1 if `normalize`."""
        ids = [self.tokenizer.encode(text, eos=True) for text in texts]
        embeddings = self.generator.embed(ids, pooling)
        return [normalized(one) for one in embeddings] if normalize else embeddings


def normalized(embedding: "array[float]") -> "array[float]":
    """Return an embedding divided by its Euclidean norm, unless that is 0."""
    norm = math.hypot(*embedding) or 1.0
    return array("f", [value / norm for value in embedding])
