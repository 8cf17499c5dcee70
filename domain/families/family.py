"""A model family: how to read its `config.json`, and the names of its tensors."""

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
"""Largest total number of experts in all layers; Kimi K2 has 23,040."""


@attrs.frozen(kw_only=True)
class Residual:
    """Placement of the norms and residual connections in a layer.

    Attributes:
        before: Whether there is a norm before attention and before the MLP.
        after: Whether there is a norm after each, before the residual addition.
        parallel: Whether attention and the MLP run in parallel on the same residual stream.
        shared: Whether parallel attention and MLP share one input norm.
        scale: Setting with the factor of both outputs before the residual addition.

    """

    before: bool = True
    after: bool = False
    parallel: Key | bool = False
    shared: Key | bool = False
    scale: Key | None = None


@attrs.frozen(kw_only=True)
class Family:
    """A model family: its structure in terms of config settings, and its tensor names.

    Attributes:
        model_type: `model_type` in `config.json`.
        called: The family's names of common settings, such as `n_embd` for `hidden_size`.
        derived: Function that computes further settings from the config; they override the config's values.
        attention: Attention settings.
        feed_forward: MLP or MoE settings.
        norm: Norm settings.
        final_norm: Whether there is a norm before the LM head.
        residual: Placement of the other norms and of the residual connections.
        scale_embedding: Whether embeddings are multiplied by the square root of the hidden size.
        embedding_scale: Setting with the factor of the embeddings.
        embedding_norm: Whether there is a norm after the embedding.
        tied: Whether the LM head shares the embedding's weight.
        head_bias: Whether the LM head has a bias.
        logit_scale: Setting with the factor of the logits.
        logit_divisor: Setting with the divisor of the logits.
        logit_cap: Setting with the soft cap of the logits.
        learned_positions: Whether there is a learned position embedding, with a row for each position.
        first_position: Row of the first token in it; the rows before are padding.
        inputs: Settings of per-layer embeddings.
        scaled: Whether a trained scalar multiplies each layer's output.
        updates: Function that reads the AltUp settings.
        context: Setting with the context length.
        weights: Mapping rules from checkpoint tensors to parameters.
        otherwise: Alternative rules, used if the checkpoint has a tensor that they read.
        prefixes: Pairs of a tensor-name prefix in some files and the usual prefix.
        unused: Patterns of tensor names that are ignored.
        refused: Settings that change the result and are not supported unless false or absent.

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
        """Return the mapping rules for a checkpoint with tensors of these names."""
        return (*(rule for rule in self.otherwise if reads(rule, names)), *self.weights)

    def describe(self, settings: Settings) -> Architecture:
        """Return the architecture of a config.

        Raises:
            DamagedFile: A setting is missing or invalid.
            UnsupportedModel: A setting is not supported.

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
            experts := sum(moe.count for moe in (mixture_of(layer.feed_forward) for layer in layers) if moe)
        ) > MOST_EXPERTS:
            raise settings.refuse("experts in all layers", experts)
        divisor = settings.optional(self.logit_divisor)
        context = settings.integer(self.context)
        return Architecture(
            family=self.model_type,
            width=width,
            vocab_size=settings.integer(Key("vocab_size")),
            context=max(context, *(longest(layer.mixer.rotary) for layer in layers)),
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
        before = how.before and not isinstance(feed_forward, SideBySide)  # has its own norms
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
