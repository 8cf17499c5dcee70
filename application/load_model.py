"""Open and check a model before its weights are read."""

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from litgpt.application.check_draft import check_draft_vocabulary
from litgpt.application.resolve_checkpoint import resolve_checkpoint
from litgpt.domain.bridge import BridgedArchitecture
from litgpt.domain.chat.styles import choose_style
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.eos import eos_token_ids
from litgpt.domain.generation.sampling_params import (
    DEFAULT_SAMPLING_PARAMS,
    SamplingParams,
    model_sampling_params,
)
from litgpt.domain.model import Architecture
from litgpt.domain.ports import Checkpoint, ModelBridge, ModelStore, OpenTokenizer, Tokenizer
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerSource
from litgpt.domain.weights.mapping import ParameterSource

TensorT = TypeVar("TensorT")


@attrs.frozen(kw_only=True)
class LoadedModel(Generic[TensorT]):
    """A checked model that is not on a device yet.

    Attributes:
        prompt_style: The prompt style; None: the tokenizer's chat template.
        eos_token_ids: The end tokens in the configs of the model.
        notes: Sentences for the user who loads it.
        untied_head: An LM head in the checkpoint although its config ties embeddings; used instead of the
            embedding if the values differ, which is known once the weights are read.
        draft: A smaller model with the same vocabulary, which drafts the texts of this one.
        own: The model on this library's own network, if engine="transformers" was chosen in place of it.
    """

    checkpoint: Checkpoint[TensorT] = attrs.field(repr=False)
    architecture: Architecture
    weight_sources: tuple[ParameterSource, ...] = attrs.field(repr=False)
    tokenizer: Tokenizer = attrs.field(repr=False)
    tokenizer_source: TokenizerSource = attrs.field(repr=False)
    prompt_style: PromptStyle | None
    eos_token_ids: frozenset[int] = frozenset()
    sampling_params: SamplingParams = DEFAULT_SAMPLING_PARAMS
    notes: tuple[str, ...] = ()
    untied_head: ParameterSource | None = attrs.field(default=None, repr=False)
    draft: "LoadedModel[TensorT] | None" = attrs.field(default=None, repr=False)
    own: "LoadedModel[TensorT] | None" = attrs.field(default=None, repr=False)

    __repr__ = brief_repr

    @property
    def is_bridged(self) -> bool:
        """Whether transformers computes the model."""
        return isinstance(self.architecture, BridgedArchitecture)

    def close(self) -> None:
        """Close the files."""
        self.checkpoint.close()
        if self.draft is not None:
            self.draft.close()

    def resolve_tied_head(self, equal: Callable[[TensorT, TensorT], bool]) -> "LoadedModel[TensorT]":
        """Return the model with the LM head of the checkpoint if it differs from the embedding, else tied.

        transformers 5 does the same. Memory-mapped tensors are read only up to the first difference.
        """
        if self.untied_head is None:
            return self
        read = self.checkpoint.read
        embedding = next(x for x in self.weight_sources if x.parameter.name == "transformer.wte.weight")
        if equal(read(embedding.hf_names[0]), read(self.untied_head.hf_names[0])):
            return attrs.evolve(self, untied_head=None)
        return attrs.evolve(
            self,
            architecture=attrs.evolve(self.architecture, tie_word_embeddings=False),
            weight_sources=(*self.weight_sources, self.untied_head),
            untied_head=None,
        )

    # Properties, because to know how the chat template ends an answer it has to be rendered.

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self.tokenizer.stop_token_ids | self._style_stops[0] | self.eos_token_ids

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Strings that end an answer, for ends of turns that are not single tokens."""
        return self._style_stops[1]

    @property
    def _style_stops(self) -> tuple[frozenset[int], tuple[str, ...]]:
        style = self.prompt_style
        return (frozenset(), ()) if style is None else style.split_stops(self.tokenizer.token_to_id)

    def with_prompt_style(self, prompt_style: PromptStyle | None) -> "LoadedModel[TensorT]":
        """Return the model with another prompt style and its stop conditions."""
        if prompt_style is None and not self.tokenizer.has_chat_template:
            raise InvalidArgument(
                "prompt_style", None, f"a style, as {self.checkpoint.name} has no chat template"
            )
        return attrs.evolve(self, prompt_style=prompt_style)


@attrs.frozen
class LoadModel(Generic[TensorT]):
    """Opens a model by name and checks it as far as possible without its weights."""

    store: ModelStore[TensorT]
    open_tokenizer: OpenTokenizer
    bridge: ModelBridge | None = None

    def __call__(
        self,
        reference: ModelReference,
        *,
        tokenizer: TokenizerSource | None = None,
        draft: ModelReference | None = None,
    ) -> LoadedModel[TensorT]:
        """Open and check a model; `tokenizer` replaces that of the checkpoint, `draft` is a draft model.

        Raises:
            ModelNotFound: The model was not found.
            InvalidCheckpoint: The files cannot be used; the message lists all faults of the tensors.
            TokenizerMismatch: The draft model has another vocabulary.
            UnsupportedModel: The model family, or one of its settings, is not implemented.
        """
        loaded = self._open(reference, tokenizer)
        if draft is None:
            return loaded
        try:
            loaded = attrs.evolve(loaded, draft=self._open(draft, None))
            assert loaded.draft is not None  # noqa: S101 - for type checkers
            names = loaded.checkpoint.name, loaded.draft.checkpoint.name
            check_draft_vocabulary(names[0], loaded.tokenizer, names[1], loaded.draft.tokenizer)
        except BaseException:
            loaded.close()
            raise
        return loaded

    def _open(self, reference: ModelReference, tokenizer: TokenizerSource | None) -> LoadedModel[TensorT]:
        checkpoint = self.store.open(reference)
        try:
            resolved = resolve_checkpoint(checkpoint, self.bridge)
            architecture = resolved.architecture
            source = tokenizer or checkpoint.read_tokenizer()
            opened = self.open_tokenizer(source, name=checkpoint.name, vocab_size=architecture.vocab_size)
            style = choose_style(
                checkpoint.prompt_style, has_chat_template=opened.has_chat_template, name=checkpoint.name
            )
            return LoadedModel(
                checkpoint=checkpoint,
                architecture=architecture,
                weight_sources=resolved.sources,
                untied_head=resolved.untied_head,
                notes=(*checkpoint.notes, *resolved.notes),
                tokenizer=opened,
                tokenizer_source=source,
                prompt_style=style,
                eos_token_ids=eos_token_ids(checkpoint.config, checkpoint.generation_config),
                sampling_params=model_sampling_params(checkpoint.generation_config),
            )
        except BaseException:
            checkpoint.close()
            raise
