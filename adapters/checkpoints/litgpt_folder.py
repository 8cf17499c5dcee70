"""A folder that LitGPT wrote: `lit_model.pth`, `model_config.yaml` and the tokenizer's files."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.litgpt_beside import agreed_config
from litgpt.adapters.checkpoints.litgpt_dialect import to_config
from litgpt.adapters.checkpoints.litgpt_tensors import LitGptTensors
from litgpt.adapters.checkpoints.on_disk import stands_in
from litgpt.adapters.checkpoints.small_files import (
    read_if_there,
    read_yaml,
    saved_prompt_style,
    tokenizer_files,
)
from litgpt.domain.errors import BadArgument, DamagedFile, MissingFile, UnsafeFile
from litgpt.domain.reading import check_archive, reading
from litgpt.domain.reporting import Report
from litgpt.domain.tensors import DType, TensorInfo
from litgpt.domain.vocabulary import TokenizerFiles

if TYPE_CHECKING:
    import torch

WEIGHTS = "lit_model.pth"
SETTINGS = "model_config.yaml"


@attrs.frozen
class _Opened:
    """What is known once the weights are open: the config, which they complete, and the tensors."""

    config: Mapping[str, object]
    tensors: LitGptTensors


@attrs.define
class LitGptCheckpoint:
    """A model in a LitGPT folder. Its tensors are views of `lit_model.pth`, mapped into memory.

    Names, shapes and whether the head is the embedding stand only in the pickle, so torch opens it when one
    of them is first asked for.
    """

    name: str
    folder: Path
    generation_config: Mapping[str, object] = attrs.field(repr=False)
    prompt_style: str | None
    tokenizer: TokenizerFiles = attrs.field(repr=False)
    _settings: Mapping[str, object] = attrs.field(repr=False)
    _beside: Mapping[str, object] = attrs.field(repr=False)
    _opened: _Opened | None = attrs.field(default=None, init=False, repr=False)

    @property
    def origin(self) -> str:
        """Where it is, in words."""
        return f"the LitGPT folder {self.folder}"

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder

    @property
    def config(self) -> Mapping[str, object]:
        """What `config.json` would hold."""
        return self._weights().config

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever loads it should be told: nothing."""
        return ()

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor it holds, by Hugging Face's name."""
        tensors = self._weights().tensors
        return {name: tensors.info(name) for name in tensors.uses}

    def fetch(self, report: Report) -> None:
        """Do nothing: the weights are here."""

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: a view of the file in the dtype it is stored in, otherwise a converted copy.

        Raises:
            BadArgument: There is no tensor of this name.

        """
        import torch

        tensors = self._weights().tensors
        if name not in tensors.uses:
            raise BadArgument("name", name, f"one of the tensors of {self.name}")
        tensor = tensors.read(name)
        return tensor if dtype is None else tensor.to(getattr(torch, dtype))

    def close(self) -> None:
        """Let go of the file. Tensors that were read stay valid."""
        self._opened = None

    def _weights(self) -> _Opened:
        if self._opened is None:
            weights = _load(self.folder / WEIGHTS)
            embedding, head = weights.get("transformer.wte.weight"), weights.get("lm_head.weight")
            # LitGPT's network has a head of its own; a conversion from a tied model saves one storage twice
            tied = head is None or (embedding is not None and _same(embedding, head))
            if tied:
                weights.pop("lm_head.weight", None)
            bare_norms = "transformer.ln_f.weight" not in weights
            told = to_config(str(self.folder / SETTINGS), self._settings, bare_norms=bare_norms)
            told["tie_word_embeddings"] = tied
            config, architecture = agreed_config(self.name, told, self._beside)
            tensors = LitGptTensors.of(str(self.folder / WEIGHTS), weights, architecture)
            self._opened = _Opened(config, tensors)
        return self._opened


def open_litgpt_folder(path: Path, name: str) -> LitGptCheckpoint:
    """Open a folder that LitGPT 0.5 wrote: its small files; its weights when they are asked for.

    Args:
        path: The folder.
        name: What it was asked for as.

    Raises:
        MissingFile: There is no `lit_model.pth` or no `model_config.yaml`.
        DamagedFile: A file is cut short, or a setting cannot be right.
        UnsafeFile: `lit_model.pth` is a bare pickle. (If it is an archive whose pickle names more than
            tensors, this is raised when it is first asked for.)
        UnsupportedModel: No family that is implemented has the structure that `model_config.yaml` describes.

    """
    for needed, why in (
        (WEIGHTS, "it holds the weights."),
        (SETTINGS, f"it says how {WEIGHTS} is to be read."),
    ):
        if error := stands_in(path / needed):
            raise error
        if not (path / needed).is_file():
            raise MissingFile(str(path / needed), why)
    settings = read_yaml(path / SETTINGS)
    to_config(str(path / SETTINGS), settings)  # which refuses what cannot be run
    with reading(path / WEIGHTS), (path / WEIGHTS).open("rb") as file:
        check_archive(path / WEIGHTS, file)
    return LitGptCheckpoint(
        name=name,
        folder=path,
        generation_config=read_if_there(path / "generation_config.json"),
        prompt_style=saved_prompt_style(path),
        tokenizer=tokenizer_files(path),
        settings=settings,
        beside=read_if_there(path / "config.json"),
    )


def _load(path: Path) -> dict[str, "torch.Tensor"]:
    import torch

    with reading(path, missing="it was there when the model was opened."):
        try:
            loaded = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        except UnpicklingError as error:
            raise UnsafeFile(str(path), _REMEDY) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("model"), dict):
        loaded = loaded["model"]
    if not isinstance(loaded, dict):
        raise DamagedFile(str(path), "it holds no tensors by name.")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            raise DamagedFile(str(path), f"it holds {str(key)[:60]!r}, which is no plain tensor.")
    return loaded


_REMEDY = (
    "It names more than tensors; weights alone would be read. If it is a checkpoint from the middle of "
    "training with LitGPT, `litgpt convert_pretrained_checkpoint` (LitGPT 0.5) takes the weights out of it."
)


def _same(one: "torch.Tensor", other: "torch.Tensor") -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape and one.stride() == other.stride()
