"""`litgpt.data.Alpaca` and `Alpaca2k`: instructions from the Hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Unpack

from litgpt.adapters.training.data.record_files import Record, read_records
from litgpt.container import container
from litgpt.data.module import TEMPLATE_OPTIONS, DataModule, TemplateKwargs
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.reference import ModelReference
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import local_path


class Alpaca(DataModule):
    """Stanford's Alpaca (Taori et al. 2023), cleaned: 51,760 instructions, 2,000 of them for validation.

    It is the data set `yahma/alpaca-cleaned` of the Hub, downloaded once into the cache of huggingface_hub.
    HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE hold for it as they do for models.

    Args:
        mask_prompt: As `BaseDataModule` has it, as the others below.
        val_split_fraction: The share that is held back for validation.
        prompt_style: How examples are written.
        ignore_index: The label of what is not learned.
        seed: Says which examples are held back, and the order of each epoch.
        num_workers: How many processes make batches.
        download_dir: Where to put what is downloaded, in place of huggingface_hub's cache.
        tools: Tools for records without `tools` of their own: JSON schemas or Python functions.
        chat_template_kwargs: Variables of the chat template, for records without any of their own.
        apply_chat_template: False takes the texts of records as they are.
        parse_special_tokens: Whether special tokens in the data become control tokens; see `BaseDataModule`.

    """

    repository: ClassVar[str] = "yahma/alpaca-cleaned"
    files: ClassVar[tuple[str, ...]] = ("alpaca_data_cleaned.json",)

    @public_function(TEMPLATE_OPTIONS)
    def __init__(
        self,
        mask_prompt: bool = False,
        val_split_fraction: float | None = 0.03865,  # LitGPT's
        prompt_style: str | PromptStyle | None = None,
        ignore_index: int = -100,
        seed: int = 42,
        num_workers: int = 0,
        download_dir: str | Path | None = None,
        **templating: Unpack[TemplateKwargs],
    ) -> None:
        super().__init__(
            mask_prompt, val_split_fraction, prompt_style, ignore_index, seed, num_workers, **templating
        )
        self.download_dir = None if download_dir is None else local_path("download_dir", download_dir)

    def prepare_data(self) -> None:
        """Download what is not in the cache yet.

        Raises:
            HubUnreachable: It is not in the cache, and the Hub does not answer or may not be asked.
            DataNotFound: The Hub does not have it any more.

        """
        self._fetch()

    def train_examples(self) -> Iterator[Record]:
        """Return all records; a part of them is held back for validation."""
        return read_records(self._fetch())

    def _fetch(self) -> Path:
        fetch = container.fetch_dataset()
        reference = ModelReference(self.repository)
        path: Path = fetch(reference, self.files, self.emit, download_dir=self.download_dir)
        return path


class Alpaca2k(Alpaca):
    """2,000 instructions of Alpaca, 100 of them for validation: enough to try a training out.

    It is the data set `mhenrichsen/alpaca_2k_test` of the Hub, which is Parquet: pip install 'litgpt[train]'.

    Args:
        mask_prompt: As `BaseDataModule` has it, as the others below.
        val_split_fraction: The share that is held back for validation.
        prompt_style: How examples are written.
        ignore_index: The label of what is not learned.
        seed: Says which examples are held back, and the order of each epoch.
        num_workers: How many processes make batches.
        download_dir: Where to put what is downloaded, in place of huggingface_hub's cache.
        tools: Tools for records without `tools` of their own: JSON schemas or Python functions.
        chat_template_kwargs: Variables of the chat template, for records without any of their own.
        apply_chat_template: False takes the texts of records as they are.
        parse_special_tokens: Whether special tokens in the data become control tokens; see `BaseDataModule`.

    """

    repository = "mhenrichsen/alpaca_2k_test"
    files = ("*.parquet", "*.jsonl", "*.json")

    @public_function(TEMPLATE_OPTIONS)
    def __init__(
        self,
        mask_prompt: bool = False,
        val_split_fraction: float | None = 0.05,
        prompt_style: str | PromptStyle | None = None,
        ignore_index: int = -100,
        seed: int = 42,
        num_workers: int = 0,
        download_dir: str | Path | None = None,
        **templating: Unpack[TemplateKwargs],
    ) -> None:
        super().__init__(
            mask_prompt,
            val_split_fraction,
            prompt_style,
            ignore_index,
            seed,
            num_workers,
            download_dir,
            **templating,
        )
