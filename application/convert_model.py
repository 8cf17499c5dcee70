"""Write a model that is in one format in another."""

from pathlib import Path
from typing import Generic, TypeVar

import attrs

from litgpt.application.load_model import LoadModel, PlaceModel
from litgpt.application.save_model import SaveModel
from litgpt.domain.distribution.placement import DistributeOptions
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference

TensorT = TypeVar("TensorT")
ModelT = TypeVar("ModelT")

# What a float format is in Lightning's words. Quantized weights are rounded far more coarsely than bfloat16
# rounds.
_PRECISIONS = {"F32": "32-true", "F16": "16-true", "BF16": "bf16-true"}
_DEFAULT_PRECISION = "bf16-true"


@attrs.frozen
class ConvertModel(Generic[TensorT, ModelT]):
    """Loads a model, whatever it is stored in, and writes it.

    Attributes:
        load: Finds and checks it.
        place: Builds it.
        save: Writes it.

    """

    load: LoadModel[TensorT]
    place: PlaceModel[TensorT, ModelT]
    save: SaveModel[TensorT, ModelT]

    def __call__(
        self,
        reference: ModelReference,
        folder: Path,
        report: Reporter,
        *,
        precision: str | None = None,
        overwrite: bool = False,
    ) -> str:
        """Convert a model, on the CPU, and return the precision that it was written in.

        Args:
            reference: Which model.
            folder: Where to.
            report: Told of the progress.
            precision: As Lightning writes it; None is what most of its weights are stored in, or `bf16-true`
                where they are quantized.
            overwrite: Whether another model in the folder is replaced.

        Raises:
            WouldOverwrite: The folder holds another model, and `overwrite` is not set.
            ModelNotFound: Nobody has it.
            BadCheckpoint: Its files cannot be used.
            UnsupportedModel: It is of no family that is implemented, or the format cannot express it.
            OutOfReach: The disk has not the room, or the folder cannot be written to.

        """
        loaded = self.load(reference)
        try:
            self.save.check(
                loaded, folder, overwrite=overwrite, is_copy=True
            )  # before anything is downloaded
            chosen = precision or _storage_precision(loaded.checkpoint)
            wish = DistributeOptions(accelerator="cpu", precision=chosen)
            self.place.check(loaded, wish)
            loaded, model, _ = self.place(loaded, wish, report)
            self.save(loaded, model, folder, report, overwrite=overwrite, is_copy=True)
        finally:
            loaded.checkpoint.close()
        return chosen


def _storage_precision(checkpoint: Checkpoint[TensorT]) -> str:
    sizes: dict[str, int] = {}
    for tensor in checkpoint.tensors.values():
        sizes[tensor.storage_format] = sizes.get(tensor.storage_format, 0) + tensor.numel
    most = max(sizes, key=lambda one: sizes[one])
    return _PRECISIONS.get(most, _DEFAULT_PRECISION)
