"""Writing a folder of PEFT's."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from litgpt.adapters.checkpoints.peft_folder import CONFIG, WEIGHTS, settings_of, tensors_of
from litgpt.adapters.checkpoints.safetensors_writing import write_file
from litgpt.adapters.checkpoints.staging import put_in_place, staging
from litgpt.domain.errors import OutOfReach
from litgpt.domain.lora import Adapter
from litgpt.domain.tensors import TensorInfo

if TYPE_CHECKING:
    import torch


def write_adapter(folder: Path, adapter: "Adapter[torch.Tensor]") -> None:
    """Write an adapter: weights and settings are put in place together, once both are complete.

    Args:
        folder: Where to.
        adapter: The adapter, its tensors in float32 on the CPU.

    Raises:
        OutOfReach: The folder cannot be written to.

    """
    tensors = dict(tensors_of(adapter))
    infos = {name: TensorInfo(tuple(one.shape), "F32", 4 * one.numel()) for name, one in tensors.items()}
    try:
        with staging(folder) as staged:
            write_file(staged / WEIGHTS, list(tensors), infos, tensors.values())
            settings = json.dumps(settings_of(adapter), indent=2, ensure_ascii=False) + "\n"
            (staged / CONFIG).write_text(settings, encoding="utf-8")
            put_in_place(staged, (WEIGHTS, CONFIG))
    except OSError as error:
        reason = f"{(error.strerror or str(error)).lower()}. Choose a folder that can be written to."
        raise OutOfReach(f"Saving to {folder}", reason) from error
