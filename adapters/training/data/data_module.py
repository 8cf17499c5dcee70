"""The base class of the data modules: encoding, splitting, batching and resumption."""

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

_NUM_CHECKED = 20  # the number of examples that are checked for rendered templates

Example: TypeAlias = "Record | dict[str, Any] | Messages"
Datasets: TypeAlias = "tuple[Dataset[Batch], Dataset[Batch] | None]"


class BaseDataModule(LightningDataModule):
    """A data module with reproducible order and resumption within an epoch.

    Subclasses implement `train_examples`, and `val_examples` or pass `val_split_fraction`. Data that does not
    consist of examples overrides `datasets`. The arguments are those of `litgpt.data.DataModule`.
    """

    def __init__(  # noqa: PLR0913 - keyword-only
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
        """Set the tokenizer, the batch size and the maximum sequence length.

        Afterwards `prompt_style` is the style in use; None is the tokenizer's chat template.

        Args:
            tokenizer: The model's, as `llm.tokenizer`.
            batch_size: The number of examples per batch and device.
            max_seq_length: Longer examples are truncated at the end; None (or LitGPT's -1) disables this.
        """
        port: Any = getattr(tokenizer, "port", tokenizer)
        if not (hasattr(port, "encode") and hasattr(port, "render")):
            raise WrongType("tokenizer", tokenizer, "a Tokenizer, as llm.tokenizer")
        length = None if max_seq_length == -1 else max_seq_length
        integer("batch_size", batch_size, 1)
        if length is not None:
            integer("max_seq_length", length, 2)
        self.tokenizer, self.batch_size, self.max_seq_length = port, batch_size, length
        model_style = getattr(tokenizer, "prompt_style", None)
        self.prompt_style = training_style(port, self._requested_prompt_style or model_style)
        self._sets = None

    def report_to(self, report: Reporter) -> None:
        self._report = report

    def train_examples(self) -> Iterable[Example]:
        """Return the training examples: records, or conversations as lists of messages."""
        raise NotImplementedError(f"{self.display_name} must implement train_examples().")

    def val_examples(self) -> Iterable[Example] | None:
        """Return the validation examples; None splits off `val_split_fraction` of the training examples."""
        return None

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - Lightning's signature
        """Encode the examples once; Lightning calls this again before validation and for a second fit."""
        if self._sets is None:
            self.require_tokenizer()
            self._sets = self.datasets()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of training batches, in the order of the epoch."""
        self.setup()
        train, _ = self._datasets()
        ranks, rank = self._rank()
        sampler = EpochSampler[Any](train, num_replicas=ranks, rank=rank, seed=self.seed)
        return ResumableLoader(train, sampler=sampler, **self._loader_kwargs())

    def batches_in_epoch(self, ranks: int | None = None) -> int:
        """Return the number of training batches per epoch and device; `ranks` devices without a trainer."""
        self.setup()
        train, _ = self._datasets()
        ranks = ranks or self._rank()[0]
        samples = -(-len(train) // ranks)  # type: ignore[arg-type] # all datasets here have a length
        return -(-samples // self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Return the loader of validation batches in fixed order; an empty list without validation data."""
        self.setup()
        _, val = self._datasets()
        if val is not None:
            return DataLoader(val, **self._loader_kwargs())
        # Lightning skips the validation for an empty list, with a warning.
        warnings.filterwarnings("ignore", "Total length of .list. across ranks is zero")
        return []

    def datasets(self) -> Datasets:
        train = self._numbered(self.train_examples(), "example")
        val_examples = self.val_examples()
        val = [] if val_examples is None else self._numbered(val_examples, "validation example")
        with naming_record(train[0].where):
            self._parse(train[0])  # a misspelled key is reported before a split that leaves no records
        val_size = (
            validation_size(len(train), self.val_split_fraction, location=self.source_name)
            if val_examples is None
            else 0
        )
        if val_size:
            # The order of torch.utils.data.random_split, for the same split as LitGPT.
            generator = torch.Generator().manual_seed(self.seed)
            order = torch.randperm(len(train), generator=generator).tolist()
            val = [train[index] for index in order[-val_size:]]
            train = [train[index] for index in order[:-val_size]]
        encoded = self._encode(train, "training")
        return encoded, self._encode(val, "validation") if val else None

    def require_tokenizer(self) -> Tokenizer:
        """Return the tokenizer; raise DataModuleNotConnected before `connect`."""
        if self.tokenizer is None:
            raise DataModuleNotConnected(self.display_name)
        return self.tokenizer

    @property
    def display_name(self) -> str:
        return type(self).__name__

    @property
    def source_name(self) -> str:
        """The name of the data in error messages, such as their file."""
        return self.display_name

    def emit(self, event: Notice | Progress) -> None:
        if getattr(rank_zero_only, "rank", None) in (None, 0):
            self._report(event)

    def _numbered(self, examples: Iterable[Example], kind: str) -> list[Record]:
        """Return records with a location for messages; records of files already have one."""
        numbered = [
            example
            if isinstance(example, Record)
            else Record(f"{self.display_name}, {kind} {number}", example)
            for number, example in enumerate(examples, 1)
        ]
        if not numbered:
            raise InvalidData(self.display_name, f"it has no {kind}s.")
        return numbered

    def _encode(self, examples: list[Record], purpose: str) -> SFTDataset:
        style = self.prompt_style
        options = (self.mask_prompt, self._options, self.parse_special_tokens)
        encode = EncodeExample(self.require_tokenizer(), style, *options)
        dataset, stats = SFTDataset(self.ignore_index), TruncationStats()
        for number, example in enumerate(examples, 1):
            with naming_record(example.where):
                messages = self._parse(example)
                template = parse_template_options(example.value, self._options, location=example.where)
                if number <= _NUM_CHECKED:
                    encode.warn_if_rendered(messages)
                encoder = encode if template is self._options else attrs.evolve(encode, options=template)
                full = encoder(messages)
            truncated = full.truncate(self.max_seq_length)
            stats = stats.add(
                len(full.token_ids), len(truncated.token_ids), has_targets=truncated.has_targets
            )
            if truncated.has_targets:
                dataset.append(truncated)
            if number % 100 == 0 or number == len(examples):
                self.emit(Progress(f"Encoding for {purpose}", number, len(examples), unit="examples"))
        summary = stats.summary(self.max_seq_length)
        if not len(dataset):
            raise InvalidData(self.source_name, f"no example is left for {purpose}. {summary}")
        if summary:
            self.emit(Notice(f"{self.display_name}, {purpose}: {summary}"))
        return dataset

    def _parse(self, example: Record) -> Messages:
        return parse_conversation(example.value, location=example.where, style=self.prompt_style)

    def _datasets(self) -> Datasets:
        if self._sets is None:
            raise DataModuleNotConnected(self.display_name)
        return self._sets

    def _rank(self) -> tuple[int, int]:
        """Return the world size and the rank of Lightning's distributed sampler."""
        kwargs = None if self.trainer is None else self.trainer.distributed_sampler_kwargs
        return (kwargs["num_replicas"], kwargs["rank"]) if kwargs else (1, 0)

    def _loader_kwargs(self) -> dict[str, Any]:
        if not self.num_workers:
            # The data is in memory, so worker processes would be slower. Lightning documents this filter.
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
        eos = self.require_tokenizer().eos_id
        return {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            # A separate generator, so that epochs do not advance the global random state.
            "generator": torch.Generator().manual_seed(self.seed),
            "collate_fn": PadCollator(0 if eos is None else eos, self.ignore_index),
            "pin_memory": torch.cuda.is_available(),
        }
