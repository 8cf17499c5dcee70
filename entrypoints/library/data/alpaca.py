"""`litgpt.data.Alpaca` and `Alpaca2k`: instruction data sets from the Hub."""

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

    The data set `yahma/alpaca-cleaned` on the Hub, downloaded once into the cache of huggingface_hub.
    HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE apply as they do for models.

    Args:
        mask_prompt: Whether only the answers contribute to the loss.
        val_split_fraction: The fraction of the examples for validation.
        prompt_style: A style or its name; None: the chat template, or `alpaca` without one.
        ignore_index: The label of tokens that do not contribute to the loss.
        seed: The seed of the validation split and of the order of each epoch.
        num_workers: The number of DataLoader processes; 0 loads in the trainer's process.
        download_dir: The download directory; None: the cache of huggingface_hub.
        tools: Tools for records without `tools`: JSON schemas or Python functions.
        chat_template_kwargs: Variables of the chat template, for records without their own.
        apply_chat_template: False uses the texts of records unchanged.
        parse_special_tokens: Whether special tokens in the data become control tokens; see `DataModule`.
    """

    repository: ClassVar[str] = "yahma/alpaca-cleaned"
    files: ClassVar[tuple[str, ...]] = ("alpaca_data_cleaned.json",)

    @public_function(TEMPLATE_OPTIONS)
    def __init__(
        self,
        mask_prompt: bool = False,
        val_split_fraction: float | None = 0.03865,  # LitGPT's default
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
        """Download the files that are not in the cache.

        Raises:
            HubUnreachable: A file is not in the cache, and the Hub does not answer or offline mode is on.
            DataNotFound: The Hub no longer has the data set.
        """
        self._fetch()

    def train_examples(self) -> Iterator[Record]:
        """Return all records, including the records of the validation split."""
        return read_records(self._fetch())

    def _fetch(self) -> Path:
        fetch = container.fetch_dataset()
        reference = ModelReference(self.repository)
        path: Path = fetch(reference, self.files, self.emit, download_dir=self.download_dir)
        return path


class Alpaca2k(Alpaca):
    """2,000 instructions of Alpaca, 100 of them for validation, for short training runs.

    The data set `mhenrichsen/alpaca_2k_test` on the Hub, in Parquet: pip install pyarrow.

    Args:
        mask_prompt: Whether only the answers contribute to the loss.
        val_split_fraction: The fraction of the examples for validation.
        prompt_style: A style or its name; None: the chat template, or `alpaca` without one.
        ignore_index: The label of tokens that do not contribute to the loss.
        seed: The seed of the validation split and of the order of each epoch.
        num_workers: The number of DataLoader processes; 0 loads in the trainer's process.
        download_dir: The download directory; None: the cache of huggingface_hub.
        tools: Tools for records without `tools`: JSON schemas or Python functions.
        chat_template_kwargs: Variables of the chat template, for records without their own.
        apply_chat_template: False uses the texts of records unchanged.
        parse_special_tokens: Whether special tokens in the data become control tokens; see `DataModule`.
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
