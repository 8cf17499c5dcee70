"""A quantised folder, presented as one of plain weights: Hugging Face's names and true shapes."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantised.methods import packing_of, plain
from litgpt.adapters.checkpoints.quantised.packing import Packed, Packing, Shape, Stored
from litgpt.domain.errors import BadArgument, DamagedFile
from litgpt.domain.families import expected_shapes
from litgpt.domain.reporting import Report
from litgpt.domain.tensors import DType, TensorInfo
from litgpt.domain.vocabulary import TokenizerFiles

if TYPE_CHECKING:
    import torch

    from litgpt.adapters.checkpoints.folder import FolderCheckpoint


@attrs.frozen
class QuantisedCheckpoint:
    """A model in a Hugging Face folder whose weights are packed. Each is dequantised when it is read.

    Attributes:
        config: The contents of `config.json`, without `quantization_config`.
        tensors: Every weight, by name. Its bytes are those of all its parts.
        notes: How it is quantised.

    """

    config: Mapping[str, object] = attrs.field(repr=False)
    tensors: Mapping[str, TensorInfo] = attrs.field(repr=False)
    notes: tuple[str, ...]
    _stored: "FolderCheckpoint"
    _packed: Mapping[str, Packed] = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """What it was asked for as."""
        return self._stored.name

    @property
    def origin(self) -> str:
        """Where it is, in words."""
        return self._stored.origin

    @property
    def folder(self) -> Path:
        """The folder it lies in."""
        return self._stored.folder

    @property
    def path(self) -> Path:
        """The folder, which opens it again."""
        return self._stored.folder

    @property
    def generation_config(self) -> Mapping[str, object]:
        """The contents of `generation_config.json`; empty if there is none."""
        return self._stored.generation_config

    @property
    def prompt_style(self) -> str | None:
        """The name of a prompt style that was saved with it, if one was."""
        return self._stored.prompt_style

    @property
    def tokenizer(self) -> TokenizerFiles:
        """Where its tokenizer is."""
        return self._stored.tokenizer

    def fetch(self, report: Report) -> None:
        """Do nothing: the weights are here."""

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: dequantised in float32 and then converted, or as the folder has it.

        Raises:
            BadArgument: There is no tensor of this name.
            DamagedFile: What it is made of contradicts itself, or a file has been cut short.
            MissingFile: A file has gone since it was opened.

        """
        if name not in self.tensors:
            raise BadArgument("name", name, f"one of the tensors of {self.name}")
        if name not in self._packed:
            return self._stored.read(name, dtype)
        import torch

        packed = self._packed[name]
        parts = {role: self._stored.read(part) for role, part in packed.parts.items()}
        try:
            return packed.unpack(parts, getattr(torch, dtype or "float32"))
        except ValueError as error:
            raise DamagedFile(str(self.folder), f"{name} cannot be dequantised: {error}.") from error

    def close(self) -> None:
        """Let go of the files. Tensors that were read stay valid."""
        self._stored.close()


def dequantised(stored: "FolderCheckpoint") -> "FolderCheckpoint | QuantisedCheckpoint":
    """Return a folder as one of plain weights; one that is not quantised is returned as it is.

    Raises:
        UnsupportedModel: Its format, or a setting of it, is not implemented.
        DamagedFile: A part of a weight is missing, or has a dtype or a shape that cannot be right.

    """
    packing = packing_of(stored.name, stored.config)
    if packing is None:
        return stored
    config, tensors = plain(stored.config), stored.tensors

    def expected(names: Iterable[str]) -> Mapping[str, Shape]:
        return expected_shapes(stored.name, config, names)

    packed = packing.weights(Stored(str(stored.folder), tensors, expected))
    return QuantisedCheckpoint(
        config=config,
        tensors=_presented(tensors, packed, packing),
        notes=(
            *stored.notes,
            *(
                [f"it is {packing.words}; its weights are dequantised while they are loaded."]
                if packed
                else []
            ),
        ),
        stored=stored,
        packed=packed,
    )


def _presented(
    tensors: Mapping[str, TensorInfo], packed: Mapping[str, Packed], packing: Packing
) -> dict[str, TensorInfo]:
    """Return the plain tensors, and each packed one in the place of the first of its parts."""
    made_of = {part: name for name, one in packed.items() for part in one.parts.values()}
    presented: dict[str, TensorInfo] = {}
    for stored, info in tensors.items():
        if stored in made_of:
            name = made_of[stored]
            one = packed[name]
            nbytes = sum(tensors[part].nbytes for part in one.parts.values())
            presented.setdefault(name, TensorInfo(one.shape, one.stored_as, nbytes))
        elif not any(fnmatchcase(stored, pattern) for pattern in packing.beside):
            presented[stored] = info
    return presented
