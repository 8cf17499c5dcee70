"""Load a model: find it, understand it, and check that everything fits, before a weight is read."""

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from litgpt.domain.chat.styles import choose_style
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.distribution.cpu_matmul import slow_placement_warning
from litgpt.domain.distribution.placement import (
    DistributeOptions,
    Hardware,
    Placement,
    no_gpu_warning,
    resolve_placement,
    training_placement,
)
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.families import resolve_model
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.eos import eos_token_ids
from litgpt.domain.generation.sampling_params import (
    DEFAULT_SAMPLING_PARAMS,
    SamplingParams,
    model_sampling_params,
)
from litgpt.domain.memory.preflight import check_memory
from litgpt.domain.model import Architecture
from litgpt.domain.parallel.cpu_offload import offload_notice, with_cpu_offload
from litgpt.domain.ports import Checkpoint, DistributionStrategy, ModelStore, OpenTokenizer, Tokenizer
from litgpt.domain.progress import Notice, Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerSource
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import DType, loses_precision_in_bfloat16

TensorT = TypeVar("TensorT")
ModelT = TypeVar("ModelT")


@attrs.frozen(kw_only=True)
class LoadedModel(Generic[TensorT]):
    """A model that is understood and checked, and has no device yet.

    Attributes:
        checkpoint: Where its weights are.
        architecture: Its structure.
        weight_sources: Which tensors each parameter is read from.
        tokenizer: Its tokenizer.
        tokenizer_source: Where that is.
        prompt_style: How its prompts are written; None is the chat template of its tokenizer.
        stop_token_ids: The tokens that end an answer.
        stop_strings: Strings that end one, where the style's are no tokens.
        sampling_params: How answers are drawn where the caller does not say.
        notes: What whoever loads it should be told.
        untied_head: The head that the checkpoint holds although its config ties it to the embedding, until
            the
            weights are read: it takes the embedding's place if it differs.

    """

    checkpoint: Checkpoint[TensorT] = attrs.field(repr=False)
    architecture: Architecture
    weight_sources: tuple[ParameterSource, ...] = attrs.field(repr=False)
    tokenizer: Tokenizer = attrs.field(repr=False)
    tokenizer_source: TokenizerSource = attrs.field(repr=False)
    prompt_style: PromptStyle | None
    stop_token_ids: frozenset[int]
    stop_strings: tuple[str, ...] = ()
    sampling_params: SamplingParams = DEFAULT_SAMPLING_PARAMS
    notes: tuple[str, ...] = ()
    untied_head: ParameterSource | None = attrs.field(default=None, repr=False)

    __repr__ = brief_repr

    def resolve_tied_head(self, equal: Callable[[TensorT, TensorT], bool]) -> "LoadedModel[TensorT]":
        """Return the model with its head decided: the checkpoint's own if that differs from the embedding.

        transformers 5 does the same. Both are read, once, and only as far as the first difference where the
        files are mapped into memory.
        """
        if self.untied_head is None:
            return self
        read = self.checkpoint.read
        embedding = next(one for one in self.weight_sources if one.parameter.name == "transformer.wte.weight")
        if equal(read(embedding.hf_names[0]), read(self.untied_head.hf_names[0])):
            return attrs.evolve(self, untied_head=None)
        return attrs.evolve(
            self,
            architecture=attrs.evolve(self.architecture, tie_word_embeddings=False),
            weight_sources=(*self.weight_sources, self.untied_head),
            untied_head=None,
        )

    def with_prompt_style(self, prompt_style: PromptStyle | None) -> "LoadedModel[TensorT]":
        """Return the model with another prompt style, and with what ends an answer in that.

        Raises:
            BadArgument: It is None, the tokenizer's chat template, and the tokenizer has none.

        """
        if prompt_style is None and not self.tokenizer.has_chat_template:
            raise InvalidArgument(
                "prompt_style", None, f"a style, as {self.checkpoint.name} has no chat template"
            )
        end_ids, stop = _stop_conditions(self.checkpoint, self.tokenizer, prompt_style)
        return attrs.evolve(self, prompt_style=prompt_style, stop_token_ids=end_ids, stop_strings=stop)


@attrs.frozen
class LoadModel(Generic[TensorT]):
    """Finds a model by name and checks all of it that can be checked without its weights.

    Attributes:
        store: Where models are.
        open_tokenizer: Opens a checkpoint's tokenizer.

    """

    store: ModelStore[TensorT]
    open_tokenizer: OpenTokenizer

    def __call__(
        self, reference: ModelReference, *, tokenizer: TokenizerSource | None = None
    ) -> LoadedModel[TensorT]:
        """Return the model, understood and checked.

        Args:
            reference: Which model.
            tokenizer: A tokenizer to use in place of the checkpoint's own.

        Raises:
            ModelNotFound: Nobody has it.
            BadCheckpoint: Its files cannot be used; the error lists all that is wrong with its tensors.
            UnsupportedModel: Its family, or a setting of it, is not implemented.

        """
        checkpoint = self.store.open(reference)
        try:
            found = resolve_model(checkpoint.name, checkpoint.config, checkpoint.tensors)
            architecture = found.architecture
            source = tokenizer or checkpoint.tokenizer
            opened = self.open_tokenizer(source, name=checkpoint.name, vocab_size=architecture.vocab_size)
            style = choose_style(
                checkpoint.prompt_style, has_chat_template=opened.has_chat_template, name=checkpoint.name
            )
            end_ids, stop = _stop_conditions(checkpoint, opened, style)
            return LoadedModel(
                checkpoint=checkpoint,
                architecture=architecture,
                weight_sources=found.sources,
                untied_head=found.untied_head,
                notes=(*checkpoint.notes, *found.notes),
                tokenizer=opened,
                tokenizer_source=source,
                prompt_style=style,
                stop_token_ids=end_ids,
                stop_strings=stop,
                sampling_params=model_sampling_params(checkpoint.generation_config),
            )
        except BaseException:
            checkpoint.close()
            raise


@attrs.frozen
class PlaceModel(Generic[TensorT, ModelT]):
    """Puts a loaded model on the hardware.

    Attributes:
        strategy: What knows the hardware and builds models on it.
        equal: Whether two tensors hold the same numbers.

    """

    strategy: DistributionStrategy[TensorT, ModelT]
    equal: Callable[[TensorT, TensorT], bool]

    def check(
        self, loaded: LoadedModel[TensorT], options: DistributeOptions, *, replaced: ModelT | None = None
    ) -> None:
        """Raise if a model cannot be placed so, before anything is allocated.

        Args:
            loaded: The model.
            options: How it is to be placed.
            replaced: The network that is released first, if there is one.

        Raises:
            BadArgument: An argument cannot be right.
            OutOfReach: The hardware does not have it, or too little memory.

        """
        hardware = self.strategy.hardware(replaced)
        placement = with_cpu_offload(
            _resolve_placement(loaded, options, hardware), loaded.architecture, hardware
        )
        _check_memory(loaded, placement, hardware)

    def __call__(
        self, loaded: LoadedModel[TensorT], options: DistributeOptions, report: Reporter
    ) -> tuple[LoadedModel[TensorT], ModelT, Placement]:
        """Return the loaded model with its head settled, the network with its weights, and where that is.

        Raises:
            BadArgument: The wish cannot be right.
            OutOfReach: The hardware does not have it.
            HubUnreachable: The weights have to come from a Hub that does not answer.

        """
        hardware = self.strategy.hardware()
        wished = _resolve_placement(loaded, options, hardware)
        placement = with_cpu_offload(wished, loaded.architecture, hardware)
        _report_notes(loaded, report)
        if away := offload_notice(placement, loaded.architecture):
            report(Notice(away))
        if slow := slow_placement_warning(wished, hardware):
            report(Notice(slow))
        loaded = _fetch(loaded, self.equal, report)
        placement = with_cpu_offload(
            wished, loaded.architecture, hardware
        )  # a head of its own needs more memory
        report(Notice(f"Using {len(placement.devices)} device(s): {_placement_summary(placement)}"))
        if lack := no_gpu_warning(options, placement):
            report(Notice(lack))
        model = self.strategy.build(
            placement, loaded.architecture, loaded.weight_sources, loaded.checkpoint, report
        )
        return loaded, model, placement


@attrs.frozen
class PrepareTraining(Generic[TensorT, ModelT]):
    """Builds a loaded model for something else to move and to train.

    Attributes:
        strategy: What builds models.
        equal: Whether two tensors hold the same numbers.

    """

    strategy: DistributionStrategy[TensorT, ModelT]
    equal: Callable[[TensorT, TensorT], bool]

    def __call__(
        self, loaded: LoadedModel[TensorT], dtype: DType, report: Reporter, *, quantize: str | None = None
    ) -> tuple[LoadedModel[TensorT], ModelT, Placement]:
        """Return the loaded model with its head settled, and the network: in this machine's memory.

        Raises:
            BadArgument: There is no such way to quantize.
            OutOfReach: There is too little memory.
            HubUnreachable: The weights have to come from a Hub that does not answer.

        """
        hardware = self.strategy.hardware()
        placement = training_placement(dtype, quantize, hardware)
        _check_memory(loaded, placement, hardware)
        _report_notes(loaded, report)
        loaded = _fetch(loaded, self.equal, report)
        model = self.strategy.build(
            placement, loaded.architecture, loaded.weight_sources, loaded.checkpoint, report
        )
        return loaded, model, placement


def _resolve_placement(
    loaded: LoadedModel[TensorT], options: DistributeOptions, hardware: Hardware
) -> Placement:
    return resolve_placement(
        options,
        hardware,
        bfloat16_loses_precision=loses_precision_in_bfloat16(loaded.checkpoint.tensors.values()),
    )


def _check_memory(loaded: LoadedModel[TensorT], placement: Placement, hardware: Hardware) -> None:
    checkpoint = loaded.checkpoint
    check_memory(
        checkpoint.name, placement, loaded.architecture, loaded.weight_sources, checkpoint.tensors, hardware
    )


def _fetch(
    loaded: LoadedModel[TensorT], equal: Callable[[TensorT, TensorT], bool], report: Reporter
) -> LoadedModel[TensorT]:
    """Return the model once its weights are on this machine, its head settled."""
    loaded.checkpoint.fetch(report)
    settled = loaded.resolve_tied_head(equal)
    if settled.architecture.tie_word_embeddings != loaded.architecture.tie_word_embeddings:
        report(Notice(f"{loaded.checkpoint.name}: {_UNTIED_HEAD_NOTE}"))
    return settled


_UNTIED_HEAD_NOTE = (
    "its config.json ties the head to the embedding (tie_word_embeddings), and the checkpoint holds a head "
    "with other values, which is used. Set tie_word_embeddings to false to silence this."
)


def _stop_conditions(
    checkpoint: Checkpoint[TensorT], tokenizer: Tokenizer, style: PromptStyle | None
) -> tuple[frozenset[int], tuple[str, ...]]:
    """Return the tokens, and the strings, that end an answer."""
    ids, strings = style.split_stops(tokenizer) if style is not None else (frozenset(), ())
    return tokenizer.stop_token_ids | ids | eos_token_ids(
        checkpoint.config, checkpoint.generation_config
    ), strings


def _placement_summary(placement: Placement) -> str:
    """Return the kind of device, and the precision, of a placement in a few words."""
    kinds = ", ".join(dict.fromkeys(one.partition(":")[0] for one in placement.devices))
    quantized = "" if placement.quantize is None else f", weights in {placement.quantize}"
    return f"{kinds}, {placement.dtype}{quantized}"


def _report_notes(loaded: LoadedModel[TensorT], report: Reporter) -> None:
    for note in loaded.notes:
        report(Notice(f"{loaded.checkpoint.name}: {note}"))
