"""Models on disk in any format, by path or by name under `checkpoints/`."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.files.atomic_folder import check_not_interrupted
from litgpt.adapters.checkpoints.files.file_checks import (
    existing_paths,
    is_lfs_pointer,
    lfs_pointer_error,
    missing_file,
    similar_path,
)
from litgpt.adapters.checkpoints.hf.config_files import read_json, tokenizer_files
from litgpt.adapters.checkpoints.hf.safetensors_index import INDEX_FILE, SINGLE_FILE
from litgpt.application.files.atomic_write import PARTIAL_NAME
from litgpt.domain.errors import (
    CorruptFile,
    InvalidArgument,
    InvalidCheckpoint,
    MissingFile,
    ModelNotFound,
)
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerSource, has_tokenizer_files
from litgpt.domain.validation.untrusted_files import translate_read_errors

if TYPE_CHECKING:
    import torch

    from litgpt.domain.ports import Checkpoint

# Each format is imported when a model may have it.

RUN_CONFIG = "recipe.yaml"
"""The configuration of a training run in its output folder."""

MAX_NAMES = 1000
"""Maximum number of entries of the root that are searched for suggestions."""


@attrs.frozen
class LocalStore:
    """Opens a folder or a file by its path, or by its name under a root.

    The content determines the format, in this order: a Hugging Face folder (`config.json` and safetensors), a
    LitGPT folder (`lit_model.pth`), a GGUF file or a folder with a single GGUF model.

    Attributes:
        root: The folder in which names that are not paths are looked up.
    """

    root: Path = Path("checkpoints")

    @property
    def location(self) -> str:
        return f"the path itself; folders and files under {self.root}"

    def names(self) -> Iterator[str]:
        """Yield the models under the root, as `model` or `organization/model`."""
        try:
            entries = [*islice(self.root.glob("*"), MAX_NAMES), *islice(self.root.glob("*/*"), MAX_NAMES)]
            models = [entry for entry in entries if _contains_model(entry)]
        except OSError:
            return
        yield from sorted(entry.relative_to(self.root).as_posix() for entry in models)

    def open(self, reference: ModelReference) -> "Checkpoint[torch.Tensor]":
        """Open the model at this path, or under the root by this name.

        Raises:
            ModelNotFound: The path does not exist.
            InvalidArgument: A revision was requested, which local models do not have. The Hub's model may
                have been meant.
            InvalidCheckpoint: The path is not a model, or the model cannot be used.
            UnsupportedModel: The architecture or quantization is not supported.
        """
        path = self.path(reference)
        if reference.revision is not None:
            raise InvalidArgument(
                "revision",
                reference.revision,
                f"omitted for a model on disk ({path}), which has no revisions",
            )
        with translate_read_errors(str(path)):
            return _open(path, reference.name)

    def tokenizer(self, reference: ModelReference) -> TokenizerSource:
        """Return the tokenizer of a folder, with or without a model, or of a GGUF file.

        Raises:
            ModelNotFound: The path does not exist.
            InvalidCheckpoint: It has no tokenizer, or is another kind of file.
        """
        path = self.path(reference)
        if path.is_dir():
            files = tokenizer_files(path)
            if has_tokenizer_files(files.paths):
                return files
            if not _is_gguf(path):
                raise MissingFile(
                    str(path / "tokenizer.json"),
                    "the folder has no tokenizer. Pass a folder or repository that has one, or a GGUF file.",
                )
        return self.open(reference).read_tokenizer()

    def config(self, reference: ModelReference) -> Mapping[str, object]:
        """Return the config of a folder, with or without weights, or of a GGUF file.

        Raises:
            ModelNotFound: There is neither a folder with a `config.json` nor a GGUF file.
            InvalidCheckpoint: It cannot be read.
        """
        path = self._find(reference.name)
        if path is not None and (path / "config.json").is_file():
            return read_json(path / "config.json")
        if path is not None and _is_gguf(path):
            return self.open(reference).config
        raise ModelNotFound(reference.name, searched=(f"a config.json in {self.location}",))

    def path(self, reference: ModelReference) -> Path:
        """Return the path of a model or an adapter, or raise ModelNotFound."""
        path = self._find(reference.name)
        if path is None:
            similar = similar_path(reference.name)
            hint = f"A path with a similar name is {similar}." if similar else ""
            raise ModelNotFound(reference.name, searched=(self.location,), hint=hint)
        return path

    def _find(self, name: str) -> Path | None:
        path = next(existing_paths(name, self.root), None)
        if path is not None:
            check_not_interrupted(path)
        return path


_PIECE = re.compile(r"((.+?)(?:\.gguf)?[._-](?:part|split)[._-]?)[a-z0-9]+", re.IGNORECASE)
_SPLIT_SUFFIX = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")


def _is_gguf(path: Path) -> bool:
    return any(path.glob("*.gguf")) if path.is_dir() else path.suffix == ".gguf"


def _contains_model(path: Path) -> bool:
    if PARTIAL_NAME.fullmatch(path.name):
        return False
    if path.is_dir():
        from litgpt.adapters.checkpoints.litgpt.checkpoint import WEIGHTS_FILE

        markers = (SINGLE_FILE, INDEX_FILE, WEIGHTS_FILE)
        return any((path / marker).is_file() for marker in markers) or any(path.glob("*.gguf"))
    return path.suffix == ".gguf"


def _open(path: Path, name: str) -> "Checkpoint[torch.Tensor]":
    if path.is_symlink() and not path.exists():
        raise missing_file(path, "")
    if not path.is_dir():
        return _open_file(path, name)
    from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder

    has_safetensors = (path / SINGLE_FILE).is_file() or (path / INDEX_FILE).is_file()
    if has_safetensors and (path / "config.json").is_file():
        return open_hf_folder(path, name)
    from litgpt.adapters.checkpoints.litgpt.checkpoint import WEIGHTS_FILE, open_litgpt_folder

    if (path / WEIGHTS_FILE).is_file():
        return open_litgpt_folder(path, name)
    ggufs = sorted(path.glob("*.gguf"))
    if len(ggufs) == 1 or (ggufs and len({_SPLIT_SUFFIX.sub("", gguf.name) for gguf in ggufs}) == 1):
        return _open_gguf(ggufs[0], name)
    if ggufs:
        names = ", ".join(gguf.name for gguf in ggufs)
        raise InvalidCheckpoint(
            f"The folder {path} has several GGUF files: {names}. Pass the path of one of them."
        )
    if (path / "config.json").is_file() or any(path.glob("*.safetensors")) or any(_pickles(path)):
        return open_hf_folder(path, name)  # raises an error that names the missing file
    if (path / RUN_CONFIG).is_file():
        raise InvalidCheckpoint(f"The folder {path} is a training run. {_trained(path)}")
    raise InvalidCheckpoint(
        f"The folder {path} is not a model: it has no config.json with safetensors, no "
        f"{WEIGHTS_FILE} and no GGUF file. If {name!r} is elsewhere, move the folder away."
    )


def _trained(run: Path) -> str:
    """Return the advice for the folder of a training run: its model, adapter or checkpoint to use."""
    folders = [run / name for name in ("adapter", "model") if any((run / name).glob("*.json"))]
    if folders:
        return f"Use {' or '.join(map(str, folders))}."
    if checkpoint := max((run / "checkpoints").glob("step-*.ckpt"), default=None):
        advice = f"or `litgpt convert {checkpoint} FOLDER` to make a model of its checkpoint."
        return f"It has no trained model yet; use --resume last to complete it, {advice}"
    return "It has no trained model yet."


def _pickles(path: Path) -> Iterator[Path]:
    from litgpt.adapters.checkpoints.hf.checkpoint import PICKLE_PATTERNS

    for pattern in PICKLE_PATTERNS:
        yield from path.glob(pattern)


def _open_file(path: Path, name: str) -> "Checkpoint[torch.Tensor]":
    with translate_read_errors(path), path.open("rb") as file:
        beginning = file.read(64)
    if is_lfs_pointer(beginning):
        raise lfs_pointer_error(path)
    magic = beginning[:4]
    if path.suffix == ".gguf" or magic == b"GGUF":
        try:
            return _open_gguf(path, name)
        except CorruptFile as error:
            error.remedy = _join_remedy(path) or error.remedy
            raise
    remedy = _join_remedy(path) or f"To load a model in another format, pass its folder: {path.parent}."
    raise InvalidCheckpoint(f"{path} is not a GGUF file. {remedy}")


def _join_remedy(path: Path) -> str:
    """Return how to join the pieces of a file that was split as bytes, such as `m.gguf.part1of2`."""
    piece = _PIECE.fullmatch(path.name)
    if piece is None:
        return ""
    pieces, joined = quote(str(path.with_name(piece[1]))), quote(str(path.with_name(f"{piece[2]}.gguf")))
    return f"By its name, it is a piece of a file. Join all pieces, in order: cat {pieces}* > {joined}"


def _open_gguf(path: Path, name: str) -> "Checkpoint[torch.Tensor]":
    from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf

    return open_gguf(path, name)
