"""A Hugging Face folder: `config.json`, and safetensors in one file or in an index of shards."""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.mapped_file import MappedFile
from litgpt.adapters.checkpoints.on_disk import holds, missing, stands_in
from litgpt.adapters.checkpoints.quantised.checkpoint import dequantized
from litgpt.adapters.checkpoints.quantised.methods import plain
from litgpt.adapters.checkpoints.safetensors_header import Entry
from litgpt.adapters.checkpoints.safetensors_index import (
    INDEX,
    SINGLE,
    Beginnings,
    StoredTensors,
    sharded_files,
    single_file,
)
from litgpt.adapters.checkpoints.small_files import (
    read_if_there,
    read_json,
    saved_prompt_style,
    tokenizer_files,
)
from litgpt.domain.errors import BadArgument, BadCheckpoint, LitGPTError, MissingFile, UnsafeFile
from litgpt.domain.families import expected_shapes
from litgpt.domain.reporting import Report
from litgpt.domain.tensors import DType, TensorInfo
from litgpt.domain.vocabulary import TokenizerFiles

if TYPE_CHECKING:
    import torch

    from litgpt.domain.ports import TensorSource

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
STATES = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state|random_states)([_.-].*)?", re.ASCII)
"""Files that trainers and Accelerate write beside a model, which hold no weights."""

WEIGHTS = (*PICKLES, "*.safetensors", "*.gguf")
MOST_NAMES = 5
"""Files that a note or an error lists."""


@attrs.frozen
class MappedTensors:
    """The tensors of safetensors files, which are mapped into memory."""

    _stored: Mapping[str, tuple[MappedFile, Entry]] = attrs.field(repr=False)
    tensors: Mapping[str, TensorInfo] = attrs.field(init=False, repr=False)

    @tensors.default
    def _infos(self) -> Mapping[str, TensorInfo]:
        return {name: entry.info for name, (_, entry) in self._stored.items()}

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: a view of its file in the dtype it is stored in, otherwise a converted copy.

        Raises:
            DamagedFile: The file has been cut short since it was opened.
            MissingFile: The file has gone since it was opened.
            UnsupportedModel: torch does not have the dtype that is stored.

        """
        file, entry = self._stored[name]
        return file.tensor(name, entry, dtype)

    def close(self) -> None:
        """Let go of the files. Tensors that were read stay valid."""
        for file, _ in self._stored.values():
            file.release()


@attrs.define
class FolderCheckpoint:
    """A model in a Hugging Face folder. Its tensors are views of mapped files, or dequantized when read.

    Attributes:
        config: The contents of `config.json`, without the `quantization_config` of dequantized weights.
        notes: Which files and tensors in the folder are ignored, and how the weights are quantized.

    """

    name: str
    folder: Path
    config: Mapping[str, object] = attrs.field(repr=False)
    generation_config: Mapping[str, object] = attrs.field(repr=False)
    prompt_style: str | None
    tokenizer: TokenizerFiles = attrs.field(repr=False)
    _source: "TensorSource[torch.Tensor]" = attrs.field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where it is, in words."""
        return f"the folder {self.folder}"

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor it holds, by name."""
        return self._source.tensors

    def fetch(self, report: Report) -> None:
        """Do nothing: the weights are here."""

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: see `MappedTensors.read` and `DequantizedTensors.read`.

        Raises:
            BadArgument: There is no tensor of this name.

        """
        if name not in self._source.tensors:
            raise BadArgument("name", name, f"one of the tensors of {self.name}")
        return self._source.read(name, dtype)

    def close(self) -> None:
        """Let go of the files. Tensors that were read stay valid."""
        self._source.close()


def open_folder(path: Path, name: str, *, coming: Beginnings | None = None) -> FolderCheckpoint:
    """Open a Hugging Face folder: its small files and the headers of its weights, but no weights.

    Where it has safetensors, its other files of weights are ignored. Quantised weights are told, and read, as
    the plain ones that they stand for.

    Args:
        path: The folder.
        name: What it was asked for as.
        coming: Files of weights that are not in the folder yet. They have to be when a tensor is read.

    Raises:
        MissingFile: There is no `config.json`, no weights, or not all of their shards.
        DamagedFile: A file is cut short, or what it says of itself cannot be true.
        UnsafeFile: Its only weights are a pickle.
        UnsupportedModel: Its weights are quantised in a way that is not implemented.

    """
    if not (path / "config.json").is_file():
        raise missing(path / "config.json", "it says how the model is built, and the weights do not.")
    stored_config = read_json(path / "config.json")
    found = _stored(name, stored_config, path, coming or {})
    stored = MappedTensors(found.tensors)
    source, config, notes = dequantized(stored, name=name, folder=path, config=stored_config)
    return FolderCheckpoint(
        name=name,
        folder=path,
        config=config,
        generation_config=read_if_there(path / "generation_config.json"),
        prompt_style=saved_prompt_style(path),
        tokenizer=tokenizer_files(path),
        source=source,
        notes=(*found.notes, *ignored_files(path, found.files), *notes),
    )


def _stored(name: str, config: Mapping[str, object], folder: Path, coming: Beginnings) -> StoredTensors:
    needed_of = partial(_needed, name, plain(config))
    if SINGLE in coming or holds(folder / SINGLE):
        try:
            return single_file(folder / SINGLE, coming)
        except BadCheckpoint:
            if not holds(folder / INDEX):
                raise
        found = sharded_files(folder, coming, needed_of)
        return attrs.evolve(
            found, notes=(*found.notes, f"{SINGLE} cannot be read; {INDEX} is, in its place.")
        )
    if holds(folder / INDEX):
        return sharded_files(folder, coming, needed_of)
    raise _without_weights(folder)


def _needed(name: str, config: Mapping[str, object], names: Collection[str]) -> Collection[str]:
    """Return those of some names that a model is read from, or that are parts of packed weights which are."""
    stands_for = {one: {one, *_weights_of(one)} for one in names}
    try:
        needed = expected_shapes(name, config, {one for those in stands_for.values() for one in those})
    except LitGPTError:
        return names  # what is wrong with the config is said where the model is understood
    return {one for one, those in stands_for.items() if those & needed.keys()}


def _weights_of(part: str) -> Iterator[str]:
    """Yield the names of weights that a tensor may be a part of: `x.qweight` is one of `x.weight`."""
    levels = part.split(".")
    for end in range(1, len(levels)):
        yield ".".join((*levels[:end], "weight"))
    yield part.removesuffix("_blocks").removesuffix("_scales")  # of MXFP4's experts


def _without_weights(folder: Path) -> LitGPTError:
    """Return the error for a folder without weights that can be read."""
    for one in (SINGLE, INDEX):
        if error := stands_in(folder / one):
            return error
    pickles = sorted(one for pattern in PICKLES for one in folder.glob(pattern))
    for pickle in (one for one in pickles if not STATES.fullmatch(one.name)):
        return stands_in(pickle) or UnsafeFile(str(pickle), REMEDY)
    if others := sorted(one.name for one in folder.glob("*.safetensors"))[:MOST_NAMES]:
        reason = (
            f"the folder has {', '.join(others)}, but neither one file of this name nor an index ({INDEX})."
        )
    else:
        states = f" beside {', '.join(one.name for one in pickles[:MOST_NAMES])}" if pickles else ""
        reason = f"the folder has no weights{states}. Save the model to it, or copy its safetensors there."
    return MissingFile(str(folder / SINGLE), reason)


REMEDY = (
    "Take the model's safetensors instead. If there are none and you trust where it comes from, load it with "
    "transformers and write it again with save_pretrained."
)


def ignored_files(folder: Path, read: Collection[str]) -> tuple[str, ...]:
    """Return a note on the files of weights in a folder that are not read, if there are any."""
    found = sorted({one.name for pattern in WEIGHTS for one in folder.glob(pattern) if one.name not in read})
    if not found:
        return ()
    more = f" and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
    verb = "is" if len(found) == 1 else "are"
    return (f"{', '.join(found[:MOST_NAMES])}{more} in its folder {verb} ignored.",)
