"""A model family: how its `config.json` is read and how its tensors are called."""

import attrs

from litgpt.domain.architecture import Architecture, Layer
from litgpt.domain.families.recipes import Gated, RmsNorm, SoftmaxAttention
from litgpt.domain.families.settings import Key, Settings
from litgpt.domain.weights import Rule


@attrs.frozen(kw_only=True)
class Family:
    """What the members of a family have in common, as data.

    Attributes:
        model_type: What `config.json` calls the family.
        attention: How attention is read.
        feed_forward: How the feed-forward is read.
        norm: How the norms are read.
        norm_after: Whether there are norms after attention and feed-forward as well.
        scale_embedding: Whether the embedding is multiplied by the root of the width.
        tied: Whether the head is the embedding.
        context: The setting with the longest text.
        weights: Which tensors ours are made of.
        refused: Settings that change the result and are not implemented, unless they are false or absent.

    """

    model_type: str
    attention: SoftmaxAttention = SoftmaxAttention()
    feed_forward: Gated = Gated()
    norm: RmsNorm = RmsNorm()
    norm_after: bool = False
    scale_embedding: bool = False
    tied: Key = Key("tie_word_embeddings", default=False)
    context: Key = Key("max_position_embeddings", 2048)
    weights: tuple[Rule, ...] = attrs.field(repr=False)
    refused: tuple[str, ...] = ("quantization_config",)

    def describe(self, settings: Settings) -> Architecture:
        """Return the architecture that a config asks for.

        Raises:
            DamagedFile: A setting is absent or cannot be right.
            UnsupportedModel: A setting is not implemented.

        """
        for name in self.refused:
            if value := settings.get(Key(name, None)):
                raise settings.refuse(name, value)
        width = settings.integer(Key("hidden_size"))
        norm = self.norm.read(settings)
        layers = tuple(
            Layer(
                attention=self.attention.read(settings, number),
                feed_forward=self.feed_forward.read(settings),
                norm=norm,
                norm_after=norm if self.norm_after else None,
            )
            for number in range(settings.integer(Key("num_hidden_layers")))
        )
        return Architecture(
            family=self.model_type,
            width=width,
            vocab_size=settings.integer(Key("vocab_size")),
            context=settings.integer(self.context),
            layers=layers,
            final_norm=norm,
            tied=settings.flag(self.tied),
            embedding_scale=width**0.5 if self.scale_embedding else None,
        )
