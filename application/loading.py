"""Load a model: find it, understand it, and check that everything fits, before a weight is read."""

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.arithmetic import slowness
from litgpt.domain.ending import end_ids_of
from litgpt.domain.errors import BadArgument
from litgpt.domain.families import understand
from litgpt.domain.memory import check_memory
from litgpt.domain.messages import brief_repr
from litgpt.domain.offloading import fitted, told
from litgpt.domain.placement import Hardware, Placement, Wish, decide, missing, to_train
from litgpt.domain.ports import Checkpoint, DistributionStrategy, ModelStore, OpenTokenizer, Tokenizer
from litgpt.domain.prompts import choose_style
from litgpt.domain.prompts.style import PromptStyle
from litgpt.domain.reference import ModelReference
from litgpt.domain.reporting import Notice, Report
from litgpt.domain.sampling import DEFAULT_SAMPLING, Sampling, sampling_of
from litgpt.domain.tensors import DType, rounded_by_bfloat16
from litgpt.domain.vocabulary import TokenizerSource
from litgpt.domain.weights import Join

TensorT = TypeVar("TensorT")
ModelT = TypeVar("ModelT")


@attrs.frozen(kw_only=True)
class LoadedModel(Generic[TensorT]):
    """A model that is understood and checked, and has no device yet.

    Attributes:
        checkpoint: Where its weights are.
        architecture: Its structure.
        joins: Which tensors each parameter is read from.
        tokenizer: Its tokenizer.
        tokenizer_source: Where that is.
        style: How its prompts are written; None is the chat template of its tokenizer.
        end_ids: The tokens that end an answer.
        stop: Strings that end one, where the style's are no tokens.
        sampling: How answers are drawn where the caller does not say.
        notes: What whoever loads it should be told.
        own_head: The head that the checkpoint holds although its config ties it to the embedding, until the
            weights are read: it takes the embedding's place if it differs.

    """

    checkpoint: Checkpoint[TensorT] = attrs.field(repr=False)
    architecture: Architecture
    joins: tuple[Join, ...] = attrs.field(repr=False)
    tokenizer: Tokenizer = attrs.field(repr=False)
    tokenizer_source: TokenizerSource = attrs.field(repr=False)
    style: PromptStyle | None
    end_ids: frozenset[int]
    stop: tuple[str, ...] = ()
    sampling: Sampling = DEFAULT_SAMPLING
    notes: tuple[str, ...] = ()
    own_head: Join | None = attrs.field(default=None, repr=False)

    __repr__ = brief_repr

    def with_settled_head(self, equal: Callable[[TensorT, TensorT], bool]) -> "LoadedModel[TensorT]":
        """Return the model with its head decided: the checkpoint's own if that differs from the embedding.

        transformers 5 does the same. Both are read, once, and only as far as the first difference where the
        files are mapped into memory.
        """
        if self.own_head is None:
            return self
        read = self.checkpoint.read
        embedding = next(one for one in self.joins if one.parameter.name == "transformer.wte.weight")
        if equal(read(embedding.theirs[0]), read(self.own_head.theirs[0])):
            return attrs.evolve(self, own_head=None)
        return attrs.evolve(
            self,
            architecture=attrs.evolve(self.architecture, tied=False),
            joins=(*self.joins, self.own_head),
            own_head=None,
        )

    def with_style(self, style: PromptStyle | None) -> "LoadedModel[TensorT]":
        """Return the model with another prompt style, and with what ends an answer in that.

        Raises:
            BadArgument: It is None, the tokenizer's chat template, and the tokenizer has none.

        """
        if style is None and not self.tokenizer.has_chat_template:
            raise BadArgument(
                "prompt_style", None, f"a style, as {self.checkpoint.name} has no chat template"
            )
        end_ids, stop = _ends(self.checkpoint, self.tokenizer, style)
        return attrs.evolve(self, style=style, end_ids=end_ids, stop=stop)


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
            found = understand(checkpoint.name, checkpoint.config, checkpoint.tensors)
            architecture = found.architecture
            source = tokenizer or checkpoint.tokenizer
            opened = self.open_tokenizer(source, name=checkpoint.name, vocab_size=architecture.vocab_size)
            style = choose_style(
                checkpoint.prompt_style, has_chat_template=opened.has_chat_template, name=checkpoint.name
            )
            end_ids, stop = _ends(checkpoint, opened, style)
            return LoadedModel(
                checkpoint=checkpoint,
                architecture=architecture,
                joins=found.joins,
                own_head=found.own_head,
                notes=(*checkpoint.notes, *found.notes),
                tokenizer=opened,
                tokenizer_source=source,
                style=style,
                end_ids=end_ids,
                stop=stop,
                sampling=sampling_of(checkpoint.generation_config),
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

    def check(self, loaded: LoadedModel[TensorT], wish: Wish, *, replaced: ModelT | None = None) -> None:
        """Raise if a model cannot be placed so, before anything is allocated.

        Args:
            loaded: The model.
            wish: How it is to be placed.
            replaced: The network that is released first, if there is one.

        Raises:
            BadArgument: An argument cannot be right.
            OutOfReach: The hardware does not have it, or too little memory.

        """
        hardware = self.strategy.hardware(replaced)
        placement = fitted(_decided(loaded, wish, hardware), loaded.architecture, hardware)
        _check_memory(loaded, placement, hardware)

    def __call__(
        self, loaded: LoadedModel[TensorT], wish: Wish, report: Report
    ) -> tuple[LoadedModel[TensorT], ModelT, Placement]:
        """Return the loaded model with its head settled, the network with its weights, and where that is.

        Raises:
            BadArgument: The wish cannot be right.
            OutOfReach: The hardware does not have it.
            HubUnreachable: The weights have to come from a Hub that does not answer.

        """
        hardware = self.strategy.hardware()
        wished = _decided(loaded, wish, hardware)
        placement = fitted(wished, loaded.architecture, hardware)
        _tell(loaded, report)
        if away := told(placement, loaded.architecture):
            report(Notice(away))
        if slow := slowness(wished, hardware):
            report(Notice(slow))
        loaded = _fetched(loaded, self.equal, report)
        placement = fitted(wished, loaded.architecture, hardware)  # a head of its own needs more memory
        report(Notice(f"Using {len(placement.devices)} device(s): {_described(placement)}"))
        if lack := missing(wish, placement):
            report(Notice(lack))
        model = self.strategy.build(placement, loaded.architecture, loaded.joins, loaded.checkpoint, report)
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
        self, loaded: LoadedModel[TensorT], dtype: DType, report: Report, *, quantize: str | None = None
    ) -> tuple[LoadedModel[TensorT], ModelT, Placement]:
        """Return the loaded model with its head settled, and the network: in this machine's memory.

        Raises:
            BadArgument: There is no such way to quantise.
            OutOfReach: There is too little memory.
            HubUnreachable: The weights have to come from a Hub that does not answer.

        """
        hardware = self.strategy.hardware()
        placement = to_train(dtype, quantize, hardware)
        _check_memory(loaded, placement, hardware)
        _tell(loaded, report)
        loaded = _fetched(loaded, self.equal, report)
        model = self.strategy.build(placement, loaded.architecture, loaded.joins, loaded.checkpoint, report)
        return loaded, model, placement


def _decided(loaded: LoadedModel[TensorT], wish: Wish, hardware: Hardware) -> Placement:
    return decide(wish, hardware, rounds=rounded_by_bfloat16(loaded.checkpoint.tensors.values()))


def _check_memory(loaded: LoadedModel[TensorT], placement: Placement, hardware: Hardware) -> None:
    checkpoint = loaded.checkpoint
    check_memory(checkpoint.name, placement, loaded.architecture, loaded.joins, checkpoint.tensors, hardware)


def _fetched(
    loaded: LoadedModel[TensorT], equal: Callable[[TensorT, TensorT], bool], report: Report
) -> LoadedModel[TensorT]:
    """Return the model once its weights are on this machine, its head settled."""
    loaded.checkpoint.fetch(report)
    settled = loaded.with_settled_head(equal)
    if settled.architecture.tied != loaded.architecture.tied:
        report(Notice(f"{loaded.checkpoint.name}: {_OWN_HEAD}"))
    return settled


_OWN_HEAD = (
    "its config.json ties the head to the embedding (tie_word_embeddings), and the checkpoint holds a head "
    "with other values, which is used. Set tie_word_embeddings to false to silence this."
)


def _ends(
    checkpoint: Checkpoint[TensorT], tokenizer: Tokenizer, style: PromptStyle | None
) -> tuple[frozenset[int], tuple[str, ...]]:
    """Return the tokens, and the strings, that end an answer."""
    ids, strings = style.stops_in(tokenizer) if style is not None else (frozenset(), ())
    return tokenizer.end_ids | ids | end_ids_of(checkpoint.config, checkpoint.generation_config), strings


def _described(placement: Placement) -> str:
    """Return the kind of device, and the precision, of a placement in a few words."""
    kinds = ", ".join(dict.fromkeys(one.partition(":")[0] for one in placement.devices))
    quantized = "" if placement.quantize is None else f", weights in {placement.quantize}"
    return f"{kinds}, {placement.dtype}{quantized}"


def _tell(loaded: LoadedModel[TensorT], report: Report) -> None:
    for note in loaded.notes:
        report(Notice(f"{loaded.checkpoint.name}: {note}"))
