"""Data for the Lightning Trainer: what is the same whatever the data are."""

import warnings
from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader, Dataset

from litgpt.adapters.training.data.record_files import Record, naming_record
from litgpt.adapters.training.data.sampler import EpochSampler, ResumableLoader
from litgpt.adapters.training.data.sft_dataset import Batch, PadCollator, SFTDataset
from litgpt.application.training.encode_example import EncodeExample, training_style
from litgpt.domain.chat.messages import Messages
from litgpt.domain.chat.styles import resolve_style
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.styles.single_turn_styles import PLAIN
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.ports import Tokenizer
from litgpt.domain.progress import Notice, Progress, Reporter, null_reporter
from litgpt.domain.training.errors import DataModuleNotConnected, InvalidData
from litgpt.domain.training.records import parse_conversation, parse_template_options
from litgpt.domain.training.truncation import TruncationStats
from litgpt.domain.training.validation_split import check_fraction, validation_size
from litgpt.domain.validators import flag, integer

_NUM_CHECKED = 20  # examples, of which none may look as if it had been rendered already

Example: TypeAlias = "Record | dict[str, Any] | Messages"
Datasets: TypeAlias = "tuple[Dataset[Batch], Dataset[Batch] | None]"


class BaseDataModule(LightningDataModule):
    """Examples in batches, in an order that follows from the seed, and that can be resumed.

    Subclasses say what the examples are: `train_examples`, and `val_examples` or `val_split_fraction`.
    `datasets` is there for what is not made of examples.

    Args:
        mask_prompt: Whether only the answers are learned.
        val_split_fraction: The share of the examples that is held back for validation.
        prompt_style: A style or its name; None is the tokenizer's chat template if it has one, else Alpaca's.
        ignore_index: The label of what is not learned.
        seed: Says what is held back, and the order of each epoch.
        num_workers: How many processes make the batches; 0 is the trainer's own.
        tools: Tools, for the chat template, of records that have no `tools` of their own.
        chat_template_kwargs: Variables of the chat template, in the same way.
        apply_chat_template: False takes the texts of records as they are, as `prompt_style="default"` does.
        parse_special_tokens: Whether special tokens written in the data become control tokens. None: only
            in texts that are taken as they are, as with `apply_chat_template=False`.
        report: Is told what is done.

    Raises:
        InvalidArgument: An argument cannot be right.
        UnsupportedModel: There is no prompt style of this name.

    """

    def __init__(  # noqa: PLR0913 - all of them by name
        self,
        *,
        mask_prompt: bool = False,
        val_split_fraction: float | None = None,
        prompt_style: str | PromptStyle | None = None,
        ignore_index: int = -100,
        seed: int = 42,
        num_workers: int = 0,
        tools: Any = None,
        chat_template_kwargs: Any = None,
        apply_chat_template: bool = True,
        parse_special_tokens: bool | None = None,
        report: Reporter = null_reporter,
    ) -> None:
        super().__init__()
        flag("mask_prompt", mask_prompt)
        flag("parse_special_tokens", parse_special_tokens, none=True)
        check_fraction(val_split_fraction)
        integer("seed", seed, 0)
        integer("num_workers", num_workers, 0)
        prompt_style = resolve_style(prompt_style)
        flag("apply_chat_template", apply_chat_template)
        if not apply_chat_template:
            if prompt_style not in (None, PLAIN):
                raise InvalidArgument(
                    "prompt_style", prompt_style.name, "None with apply_chat_template=False"
                )
            prompt_style = PLAIN
        self._options = TemplateOptions(tools=tools, variables=chat_template_kwargs)
        self.mask_prompt = mask_prompt
        self.val_split_fraction = val_split_fraction
        self.ignore_index = ignore_index
        self.seed = seed
        self.num_workers = num_workers
        self.parse_special_tokens = (
            prompt_style is PLAIN if parse_special_tokens is None else parse_special_tokens
        )
        self.tokenizer: Tokenizer | None = None
        self.batch_size = 1
        self.max_seq_length: int | None = None
        self.prompt_style: PromptStyle | None = prompt_style
        self._requested_prompt_style = prompt_style
        self._report = report
        self._sets: Datasets | None = None

    def connect(
        self, tokenizer: object = None, batch_size: int = 1, max_seq_length: int | None = None
    ) -> None:
        """Say for which model the batches are.

        From then on `prompt_style` is the style in use, None being the tokenizer's chat template.

        Args:
            tokenizer: The model's, as `llm.tokenizer`.
            batch_size: How many examples a batch has, on each device.
            max_seq_length: Examples that are longer are cut at their end; None (or LitGPT's -1) cuts nothing.

        Raises:
            InvalidArgument: An argument cannot be right.

        """
        port: Any = getattr(tokenizer, "port", tokenizer)
        if not (hasattr(port, "encode") and hasattr(port, "render")):
            raise WrongType("tokenizer", tokenizer, "a Tokenizer, as llm.tokenizer")
        length = None if max_seq_length == -1 else max_seq_length
        integer("batch_size", batch_size, 1)
        if length is not None:
            integer("max_seq_length", length, 2)
        self.tokenizer, self.batch_size, self.max_seq_length = port, batch_size, length
        own = getattr(tokenizer, "prompt_style", None)  # of the model, as llm.prompt_style was set
        self.prompt_style = training_style(port, self._requested_prompt_style or own)
        self._sets = None

    def report_to(self, report: Reporter) -> None:
        """Say who is told what is done."""
        self._report = report

    def train_examples(self) -> Iterable[Example]:
        """Return what to learn from: records, or conversations as lists of messages."""
        raise NotImplementedError(f"{self.display_name} has to say what its train_examples() are.")

    def val_examples(self) -> Iterable[Example] | None:
        """Return what to validate with; None holds back `val_split_fraction` of the others."""
        return None

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - Lightning's signature
        """Encode the examples, once: Lightning calls it again before it validates, and for a second fit.

        Raises:
            DataModuleNotConnected: `connect` comes first.
            InvalidData: There is nothing to learn from; or a record cannot be used, and it says which.

        """
        if self._sets is None:
            self.require_tokenizer()
            self._sets = self.datasets()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches to learn from, in the order of the epoch."""
        self.setup()
        train, _ = self._datasets()
        ranks, rank = self._rank()
        order = EpochSampler[Any](train, num_replicas=ranks, rank=rank, seed=self.seed)
        return ResumableLoader(train, sampler=order, **self._loader_kwargs())

    def batches_in_epoch(self) -> int:
        """Return how many batches to learn from an epoch has, on each device."""
        self.setup()
        train, _ = self._datasets()
        ranks, _ = self._rank()
        samples = -(-len(train) // ranks)  # type: ignore[arg-type] # ours have a length
        return -(-samples // self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Return the batches to validate with, always in the same order; an empty list if there are none."""
        self.setup()
        _, val = self._datasets()
        if val is not None:
            return DataLoader(val, **self._loader_kwargs())
        # With an empty list Lightning does not validate, and asks whether that was intended.
        warnings.filterwarnings("ignore", "Total length of .list. across ranks is zero")
        return []

    def datasets(self) -> Datasets:
        """Return what to learn from and what to validate with, ready to be put into batches."""
        train = self._numbered(self.train_examples(), "example")
        given = self.val_examples()
        val = [] if given is None else self._numbered(given, "validation example")
        held = (
            validation_size(len(train), self.val_split_fraction, location=self.display_name)
            if given is None
            else 0
        )
        if held:
            # torch.utils.data.random_split's order, and so LitGPT's split
            generator = torch.Generator().manual_seed(self.seed)
            order = torch.randperm(len(train), generator=generator).tolist()
            val = [train[number] for number in order[-held:]]
            train = [train[number] for number in order[:-held]]
        encoded = self._encode(train, "training")
        return encoded, self._encode(val, "validation") if val else None

    def require_tokenizer(self) -> Tokenizer:
        """Return the tokenizer.

        Raises:
            DataModuleNotConnected: There is none yet.

        """
        if self.tokenizer is None:
            raise DataModuleNotConnected(self.display_name)
        return self.tokenizer

    @property
    def display_name(self) -> str:
        """What to call it in an error."""
        return type(self).__name__

    def emit(self, event: Notice | Progress) -> None:
        """Report something, once, however many ranks there are."""
        if getattr(rank_zero_only, "rank", None) in (None, 0):
            self._report(event)

    def _numbered(self, examples: Iterable[Example], what: str) -> list[Record]:
        """Return examples with the words that say which they are, of which a file has better ones."""
        numbered = [
            one if isinstance(one, Record) else Record(f"{self.display_name}, {what} {number}", one)
            for number, one in enumerate(examples, 1)
        ]
        if not numbered:
            raise InvalidData(self.display_name, f"it has not a single {what}.")
        return numbered

    def _encode(self, examples: list[Record], what: str) -> SFTDataset:
        style = self.prompt_style
        how = (self.mask_prompt, self._options, self.parse_special_tokens)
        write = EncodeExample(self.require_tokenizer(), style, *how)
        lessons, cut = SFTDataset(self.ignore_index), TruncationStats()
        for number, example in enumerate(examples, 1):
            with naming_record(example.where):
                said = parse_conversation(example.value, location=example.where, style=style)
                options = parse_template_options(example.value, self._options, location=example.where)
                if number <= _NUM_CHECKED:
                    write.warn_if_rendered(said)
                whole = (write if options is self._options else attrs.evolve(write, options=options))(said)
            lesson = whole.truncate(self.max_seq_length)
            cut = cut.add(len(whole.token_ids), len(lesson.token_ids), has_targets=lesson.has_targets)
            if lesson.has_targets:
                lessons.append(lesson)
            if number % 100 == 0 or number == len(examples):
                self.emit(Progress(f"Encoding for {what}", number, len(examples), unit="examples"))
        told = cut.summary(self.max_seq_length)
        if not len(lessons):
            raise InvalidData(self.display_name, f"nothing is left to learn from for {what}. {told}")
        if told:
            self.emit(Notice(f"{self.display_name}, {what}: {told}"))
        return lessons

    def _datasets(self) -> Datasets:
        if self._sets is None:
            raise DataModuleNotConnected(self.display_name)
        return self._sets

    def _rank(self) -> tuple[int, int]:
        """Return among how many processes Lightning deals out each epoch, and which of them this is."""
        dealt = None if self.trainer is None else self.trainer.distributed_sampler_kwargs
        return (dealt["num_replicas"], dealt["rank"]) if dealt else (1, 0)

    def _loader_kwargs(self) -> dict[str, Any]:
        if not self.num_workers:
            # All is in memory, and a process that hands it on would be slower. Lightning documents this way
            # to tell it so.
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
        end = self.require_tokenizer().eos_id
        return {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            # Of its own, or each epoch would take a number out of the run's random state.
            "generator": torch.Generator().manual_seed(self.seed),
            "collate_fn": PadCollator(0 if end is None else end, self.ignore_index),
            "pin_memory": torch.cuda.is_available(),
        }
