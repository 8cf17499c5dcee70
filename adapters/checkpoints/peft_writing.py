"""Writing a folder of PEFT's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from litgpt.adapters.checkpoints.peft_folder import CONFIG, PICKLE, WEIGHTS, settings_of, tensors_of
from litgpt.adapters.checkpoints.replacing import check_room, replacing
from litgpt.adapters.checkpoints.safetensors_writing import write_file
from litgpt.domain.lora import Adapter
from litgpt.domain.tensors import TensorInfo

if TYPE_CHECKING:
    import torch


def write_adapter(
    folder: Path, adapter: "Adapter[torch.Tensor]", files: Mapping[str, bytes] | None = None
) -> None:
    """Write an adapter, which replaces the one in the folder in one step.

    Args:
        folder: Where to.
        adapter: The adapter, its tensors in float32 on the CPU.
        files: Other files to write with it, by name, such as its tokenizer's.

    Raises:
        OutOfReach: The disk has not the room, or the folder cannot be written to.

    """
    tensors = dict(tensors_of(adapter))
    infos = {name: TensorInfo(tuple(one.shape), "F32", 4 * one.numel()) for name, one in tensors.items()}
    check_room(folder, sum(info.nbytes for info in infos.values()))
    with replacing(folder, CONFIG, lambda _: (CONFIG, WEIGHTS, PICKLE)) as staged:
        write_file(staged / WEIGHTS, list(tensors), infos, tensors.values())
        settings = json.dumps(settings_of(adapter), indent=2, ensure_ascii=False) + "\n"
        for name, content in {**(files or {}), CONFIG: settings.encode()}.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_bytes(content)
