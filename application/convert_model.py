"""Convert a model to another format."""

from pathlib import Path
from typing import Generic

import attrs

from litgpt.application.load_model import LoadModel, TensorT
from litgpt.application.place_model import PlaceModel
from litgpt.application.save_model import SaveModel
from litgpt.domain.distribution.placement import DistributeOptions
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference

# Lightning's names of storage formats. The default is for quantized weights, whose rounding error is much
# larger than that of bfloat16.
_PRECISIONS = {"F32": "32-true", "F16": "16-true", "BF16": "bf16-true"}
_DEFAULT_PRECISION = "bf16-true"


@attrs.frozen
class ConvertModel(Generic[TensorT]):
    """Loads a model of any supported format and saves it."""

    load: LoadModel[TensorT]
    place: PlaceModel[TensorT]
    save: SaveModel[TensorT]

    def __call__(
        self,
        reference: ModelReference,
        folder: Path,
        report: Reporter,
        *,
        precision: str | None = None,
        overwrite: bool = False,
    ) -> str:
        """Convert a model on the CPU and return the precision of the saved weights, by Lightning's name.

        The default precision is that of most weights, or `bf16-true` if they are quantized.
        """
        loaded = self.load(reference)
        try:
            self.save.check(loaded, folder, overwrite=overwrite, is_copy=True)  # before any download
            chosen = precision or _storage_precision(loaded.checkpoint)
            options = DistributeOptions(accelerator="cpu", precision=chosen, engine="torch")
            self.place.check(loaded, options)
            loaded, placed = self.place(loaded, options, report)
            self.save(loaded, placed, folder, report, overwrite=overwrite, is_copy=True)
        finally:
            loaded.close()
        return chosen


def _storage_precision(checkpoint: Checkpoint[TensorT]) -> str:
    sizes: dict[str, int] = {}
    for tensor in checkpoint.tensors.values():
        sizes[tensor.storage_format] = sizes.get(tensor.storage_format, 0) + tensor.numel
    most = max(sizes, key=sizes.__getitem__)
    return _PRECISIONS.get(most, _DEFAULT_PRECISION)
