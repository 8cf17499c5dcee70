"""A model family: how its `config.json` is read and how its tensors are called."""

from collections.abc import Callable, Collection, Mapping

import attrs

from litgpt.domain.architecture import AlternatingUpdates, Architecture, Layer, Norm, SideBySide, mixture_of
from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.feedforward import AnyFeed, Gated
from litgpt.domain.families.hybrid import AnyAttention
from litgpt.domain.families.inputs import Inputs
from litgpt.domain.families.names import reads
from litgpt.domain.families.norms import AnyNorm, RmsNorm
from litgpt.domain.families.rotary import longest
from litgpt.domain.families.settings import Key, Settings
from litgpt.domain.weights import Rule

MOST_EXPERTS = 2**15
"""The experts that a model may have in all of its layers; Kimi K2 has 23,040."""


@attrs.frozen(kw_only=True)
class Residual:
    """Where the norms stand, and how things are added to the stream.

    Attributes:
        before: Whether there is a norm before attention and before the feed-forward.
        after: Whether there is one after each, before it is added.
        parallel: Whether the feed-forward stands beside attention and not after it.
        shared: Whether, beside each other, they share the norm before.
        scale: The setting that multiplies what is added.

    """

    before: bool = True
    after: bool = False
    parallel: Key | bool = False
    shared: Key | bool = False
    scale: Key | None = None


@attrs.frozen(kw_only=True)
class Family:
    """What the members of a family have in common, as data.

    Attributes:
        model_type: What `config.json` calls the family.
        called: What its configs call settings that most call otherwise, such as `n_embd` for `hidden_size`.
        derived: Works out settings that its configs tell only together; they count as if they stood there.
        attention: How attention is read.
        feed_forward: How the feed-forward is read.
        norm: How the norms are read.
        final_norm: Whether there is one before the head.
        residual: Where the others are.
        scale_embedding: Whether the embedding is multiplied by the root of the width.
        embedding_scale: The setting that multiplies the embedding.
        embedding_norm: Whether the embedding is normalised.
        tied: Whether the head is the embedding.
        head_bias: Whether the head has a bias.
        logit_scale: The setting that multiplies the logits.
        logit_divisor: The setting that divides them.
        logit_cap: The setting that caps them.
        learned_positions: Whether positions have an embedding of their own, with a row for each of the
            context.
        first_position: The row of the first token; so many rows come before it.
        inputs: How a second embedding is read, of which each layer adds its part; None has none.
        scaled: Whether a learnt number multiplies the stream after each layer.
        updates: Reads how a layer works on one of several streams; None: there is one.
        context: The setting with the longest text.
        weights: Which tensors ours are made of.
        otherwise: Rules that some checkpoints follow in place of these, as is seen by their tensors' names.
        prefixes: Beginnings of names that some files write in another way, and how most write them.
        unused: Patterns of names that a checkpoint may hold besides.
        refused: Settings that change the result and are not implemented, unless they are false or absent.

    """

    model_type: str
    called: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    derived: Callable[[Settings], Mapping[str, object]] | None = None
    attention: AnyAttention = SoftmaxAttention()
    feed_forward: AnyFeed = Gated()
    norm: AnyNorm = RmsNorm()
    final_norm: bool = True
    residual: Residual = Residual()
    scale_embedding: bool = False
    embedding_scale: Key | None = None
    embedding_norm: bool = False
    tied: Key | bool = Key("tie_word_embeddings", default=False)
    head_bias: Key | bool = False
    logit_scale: Key | None = None
    logit_divisor: Key | None = None
    logit_cap: Key | None = None
    learned_positions: bool = False
    first_position: int = 0
    inputs: Inputs | None = None
    scaled: bool = False
    updates: Callable[[Settings, Norm], AlternatingUpdates] | None = None
    context: Key = Key("max_position_embeddings", 2048)
    weights: tuple[Rule, ...] = attrs.field(repr=False)
    otherwise: tuple[Rule, ...] = attrs.field(default=(), repr=False)
    prefixes: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ("*.rotary_emb.inv_freq",)
    refused: tuple[str, ...] = ("quantization_config",)

    def rules(self, names: Collection[str]) -> tuple[Rule, ...]:
        """Return the rules by which a checkpoint is read that has tensors of these names."""
        return (*(one for one in self.otherwise if reads(one, names)), *self.weights)

    def describe(self, settings: Settings) -> Architecture:
        """Return the architecture that a config asks for.

        Raises:
            DamagedFile: A setting is absent or cannot be right.
            UnsupportedModel: A setting is not implemented.

        """
        settings = attrs.evolve(settings, called=self.called)
        for name in self.refused:
            if value := settings.get(Key(name, None)):
                raise settings.refuse(name, value)
        settings = settings.with_checked_layers(settings.integer(Key("num_hidden_layers")))
        if self.derived is not None:
            settings = attrs.evolve(settings, values={**settings.values, **self.derived(settings)})
        width = settings.integer(Key("hidden_size"))
        layers = tuple(
            self._layer(settings, number) for number in range(settings.integer(Key("num_hidden_layers")))
        )
        if (
            experts := sum(one.count for one in (mixture_of(layer.feed_forward) for layer in layers) if one)
        ) > MOST_EXPERTS:
            raise settings.refuse("experts in all layers", experts)
        divisor = settings.optional(self.logit_divisor)
        context = settings.integer(self.context)
        return Architecture(
            family=self.model_type,
            width=width,
            vocab_size=settings.integer(Key("vocab_size")),
            context=max(context, *(longest(one.mixer.rotary) for one in layers)),
            layers=layers,
            final_norm=self.norm.read(settings) if self.final_norm else None,
            tied=settings.flag(self.tied),
            head_bias=settings.flag(self.head_bias),
            embedding_scale=width**0.5 if self.scale_embedding else settings.optional(self.embedding_scale),
            embedding_norm=self.norm.read(settings) if self.embedding_norm else None,
            logit_scale=1 / divisor if divisor else settings.optional(self.logit_scale),
            logit_cap=settings.optional(self.logit_cap),
            learned_positions=context + self.first_position if self.learned_positions else None,
            first_position=self.first_position,
            layer_embeddings=self.inputs.read(settings, self.norm.read(settings)) if self.inputs else None,
        )

    def _layer(self, settings: Settings, number: int) -> Layer:
        settings = settings.of_layer(number)
        norm, how = self.norm.read(settings), self.residual
        feed_forward = self.feed_forward.read(settings, number)
        before = how.before and not isinstance(feed_forward, SideBySide)  # which has its own
        parallel = settings.flag(how.parallel)
        shared = parallel and settings.flag(how.shared)
        return Layer(
            mixer=self.attention.read(settings, number),
            feed_forward=feed_forward,
            norm_1=norm if how.before else None,
            norm_2=norm if before and not shared else None,
            post_mixer_norm=norm if how.after else None,
            post_mlp_norm=norm if how.after else None,
            parallel=parallel,
            residual_scale=settings.optional(how.scale),
            input=self.inputs.of_layer(settings, norm) if self.inputs else None,
            scaled=self.scaled,
            updates=self.updates(settings, norm) if self.updates else None,
        )
