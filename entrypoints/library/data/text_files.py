"""`litgpt.data.TextFiles`: text files for pretraining."""

from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import Dataset

from litgpt.adapters.training.data.data_module import Datasets
from litgpt.adapters.training.data.documents import document_files
from litgpt.adapters.training.data.sft_dataset import Batch
from litgpt.adapters.training.data.token_file import BlockDataset, TokenizeCorpus
from litgpt.data.module import DataModule
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.progress import Notice
from litgpt.domain.training.errors import InvalidData
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import local_path


class TextFiles(DataModule):
    """Texts in windows of `max_seq_length` tokens, for pretraining; all tokens contribute to the loss.

    The data are a folder of `.txt` files, each a document, or of `.jsonl` or `.parquet` files, whose records
    have a document in `text`; or a single file. Documents are tokenized once, each followed by the end token.
    The token ids are cached in a memory-mapped file until the texts or the tokenizer change. An incomplete
    last window is dropped. Texts are read a megabyte at a time.

    Args:
        train_data_path: A folder or a file.
        val_data_path: A folder or a file for validation. None: the first file of the training folder, if the
            folder has other files and the first fills a window.
        seed: The seed of the order of each epoch.
        num_workers: The number of DataLoader processes; 0 loads in the trainer's process.
        cache_dir: The folder of the cached token ids; None: a folder `.litgpt` beside the texts.
        parse_special_tokens: Whether special tokens in the texts, such as `<|endoftext|>`, become control
            tokens. Otherwise they are encoded as plain text. Documents end with the end token in any case.
    """

    @public_function()
    def __init__(
        self,
        train_data_path: str | Path,
        val_data_path: str | Path | None = None,
        seed: int = 42,
        num_workers: int = 0,
        cache_dir: str | Path | None = None,
        parse_special_tokens: bool = False,
    ) -> None:
        super().__init__(seed=seed, num_workers=num_workers, parse_special_tokens=parse_special_tokens)
        self.train_data_path = local_path("train_data_path", train_data_path)
        self.val_data_path = None if val_data_path is None else local_path("val_data_path", val_data_path)
        self.cache_dir = None if cache_dir is None else local_path("cache_dir", cache_dir)

    def connect(
        self, tokenizer: object = None, batch_size: int = 1, max_seq_length: int | None = None
    ) -> None:
        """Set the tokenizer and the size of windows and batches.

        Args:
            tokenizer: The tokenizer of the model, such as `llm.tokenizer`.
            batch_size: The number of windows in a batch, per device.
            max_seq_length: The number of tokens in a window.

        Raises:
            InvalidArgument: An argument is not valid.
        """
        super().connect(tokenizer, batch_size, max_seq_length)
        self.prompt_style = None  # not used in pretraining

    def prepare_data(self) -> None:
        """Tokenize the texts and cache the token ids."""
        self.setup()

    def datasets(self) -> Datasets:
        """Return the training and validation windows; None without validation data.

        Raises:
            DataNotFound: The files do not exist.
            InvalidData: The texts do not fill a single window, or a file has no text.
            UnsupportedOperation: The cache cannot be written.
        """
        files = document_files(self.train_data_path)
        if self.val_data_path is not None:
            val = self._block_dataset(document_files(self.val_data_path), self.val_data_path)
            return self._tokenize(files), _require_blocks(val, self.val_data_path)
        if len(files) == 1:
            return self._tokenize(files), None
        first = self._block_dataset(files[:1], files[0])
        if not len(first):
            self.emit(Notice(f"{files[0]} is too short to validate with, so validation is skipped."))
            return self._tokenize(files), None
        return self._tokenize(files[1:]), first

    def _tokenize(self, files: Sequence[Path]) -> Dataset[Batch]:
        return _require_blocks(self._block_dataset(files, self.train_data_path), self.train_data_path)

    def _block_dataset(self, files: Sequence[Path], path: Path) -> BlockDataset:
        tokenizer = self.require_tokenizer()
        if self.max_seq_length is None:
            raise InvalidArgument(
                "max_seq_length", None, "a number of tokens, of which each window has as many"
            )
        beside = path if path.is_dir() else path.parent
        folder = self.cache_dir or beside / ".litgpt"
        pack = TokenizeCorpus(tokenizer, folder, self.emit, parse_special_tokens=self.parse_special_tokens)
        return BlockDataset(pack(files), self.max_seq_length)


def _require_blocks(windows: BlockDataset, path: Path) -> BlockDataset:
    if not len(windows):
        raise InvalidData(
            str(path),
            f"its texts have {len(windows.token_file)} tokens, and a single window has {windows.length} "
            "(max_seq_length). Add texts, or make the windows shorter.",
        )
    return windows
