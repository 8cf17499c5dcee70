"""Writing a folder of PEFT's."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from litgpt.adapters.checkpoints.peft_folder import CONFIG, WEIGHTS, settings_of, tensors_of
from litgpt.adapters.checkpoints.safetensors_writing import write_file
from litgpt.domain.errors import OutOfReach
from litgpt.domain.lora import Adapter
from litgpt.domain.tensors import TensorInfo

if TYPE_CHECKING:
    import torch

_COMING = ".coming"


def write_adapter(folder: Path, adapter: "Adapter[torch.Tensor]") -> None:
    """Write an adapter. Each file is complete before it takes its name, what was learnt before its settings.

    Args:
        folder: Where to.
        adapter: The adapter, its tensors in float32 on the CPU.

    Raises:
        OutOfReach: The folder cannot be written to.

    """
    tensors = dict(tensors_of(adapter))
    infos = {name: TensorInfo(tuple(one.shape), "F32", 4 * one.numel()) for name, one in tensors.items()}
    written = {name: folder / f"{name}{_COMING}" for name in (WEIGHTS, CONFIG)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_file(written[WEIGHTS], list(tensors), infos, tensors.values())
        said = json.dumps(settings_of(adapter), indent=2, ensure_ascii=False) + "\n"
        written[CONFIG].write_text(said, encoding="utf-8")
        for name, coming in written.items():
            coming.replace(folder / name)
    except OSError as error:
        reason = f"{(error.strerror or str(error)).lower()}. Choose a folder that can be written to."
        raise OutOfReach(f"Saving to {folder}", reason) from error
    finally:
        for coming in written.values():
            if folder.is_dir():
                coming.unlink(missing_ok=True)
