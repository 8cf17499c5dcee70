"""`litgpt.data.JSON`: records from local files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

from litgpt.adapters.pytorch.runtime.system_memory import allocatable_memory
from litgpt.adapters.training.data.record_files import Record, read_records, split_files
from litgpt.data.module import TEMPLATE_OPTIONS, DataModule, TemplateKwargs
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.memory.preflight import check_bytes
from litgpt.domain.training.errors import InvalidData
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validation.untrusted_files import printable, translate_read_errors
from litgpt.domain.validators import local_path


class JSON(DataModule):
    """Instructions or conversations from files: JSON (a list of records), JSON Lines, or Parquet.

    Supported records, which may have further fields:

        {"instruction": "Name a bird.", "input": "It is grey.", "output": "A crane."}
        {"prompt": "Name a bird.", "completion": "A crane."}
        {"messages": [{"role": "user", "content": "A bird?"}, {"role": "assistant", "content": "A crane."}]}
        {"conversations": [{"from": "human", "value": "A bird?"}, {"from": "gpt", "value": "A crane."}]}

    Messages may have any field that the chat template reads (`tool_calls`, `reasoning_content`, …), and
    records may have `tools` and `chat_template_kwargs`. Tool calls contribute to the loss like other answers.

    Args:
        json_path: A file, or a folder with `train.json` and `val.json` (or `.jsonl`, or `.parquet`).
        mask_prompt: Whether only the answers contribute to the loss.
        val_split_fraction: The fraction of a single file for validation; None: no validation split.
        prompt_style: A style or its name; None: the chat template, or `alpaca` without one.
        ignore_index: The label of tokens that do not contribute to the loss.
        seed: The seed of the validation split and of the order of each epoch.
        num_workers: The number of DataLoader processes; 0 loads in the trainer's process.
        tools: Tools for records without `tools`: JSON schemas or Python functions.
        chat_template_kwargs: Variables of the chat template, for records without their own.
        apply_chat_template: False uses the texts of records unchanged.
        parse_special_tokens: Whether special tokens in the data become control tokens; see `DataModule`.

    Raises:
        DataNotFound: The file does not exist, or the folder has no `train` file.
        InvalidArgument: `val_split_fraction` is set, but the folder has a `val` file.
    """

    @public_function(TEMPLATE_OPTIONS)
    def __init__(
        self,
        json_path: str | Path,
        mask_prompt: bool = False,
        val_split_fraction: float | None = None,
        prompt_style: str | PromptStyle | None = None,
        ignore_index: int = -100,
        seed: int = 42,
        num_workers: int = 0,
        **templating: Unpack[TemplateKwargs],
    ) -> None:
        super().__init__(
            mask_prompt, val_split_fraction, prompt_style, ignore_index, seed, num_workers, **templating
        )
        self.json_path = local_path("json_path", json_path)
        with translate_read_errors(str(self.json_path), corrupt=InvalidData):
            self._train, self._val = split_files(self.json_path)
        if self._val is not None and val_split_fraction is not None:
            expected = f"None (the validation data are {self._val})"
            raise InvalidArgument("val_split_fraction", val_split_fraction, expected)

    def train_examples(self) -> Iterator[Record]:
        """Return the records of the file, or of the folder's `train` file."""
        return _records(self._train)

    @property
    def source_name(self) -> str:
        return printable(self._train)

    def val_examples(self) -> Iterator[Record] | None:
        """Return the records of the folder's `val` file; None if it does not exist."""
        return None if self._val is None else _records(self._val)


def _records(path: Path) -> Iterator[Record]:
    """Return the records of a file, after a memory check for a JSON list, which is read as bytes and text."""
    if path.suffix == ".json" and path.is_file():
        remedy = "Write it as JSON Lines or Parquet, which are read a piece at a time."
        check_bytes(f"Reading {path}", 2 * path.stat().st_size, allocatable_memory(), remedy)
    return read_records(path)
