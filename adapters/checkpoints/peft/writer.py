"""Write PEFT adapter folders."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from litgpt.adapters.checkpoints.files.atomic_folder import check_free_space, replace_folder
from litgpt.adapters.checkpoints.hf.safetensors_writer import write_file
from litgpt.adapters.checkpoints.peft.adapter_folder import to_peft_config, to_peft_tensors
from litgpt.adapters.checkpoints.peft.folder_files import CONFIG_FILE, PICKLE_FILE, WEIGHTS_FILE
from litgpt.domain.lora.config import LoraAdapter
from litgpt.domain.weights.tensor_info import TensorInfo

if TYPE_CHECKING:
    import torch


def write_adapter(
    folder: Path, adapter: "LoraAdapter[torch.Tensor]", files: Mapping[str, bytes] | None = None
) -> None:
    """Write an adapter folder atomically, replacing an adapter that is already there.

    The tensors are in float32 on the CPU; `files` are the contents of additional files by name.
    """
    tensors = dict(to_peft_tensors(adapter))
    infos = {
        name: TensorInfo(tuple(tensor.shape), "F32", 4 * tensor.numel()) for name, tensor in tensors.items()
    }
    with replace_folder(folder, CONFIG_FILE, lambda _: (CONFIG_FILE, WEIGHTS_FILE, PICKLE_FILE)) as staged:
        check_free_space(folder, sum(info.nbytes for info in infos.values()))
        write_file(staged / WEIGHTS_FILE, list(tensors), infos, tensors.values())
        settings = json.dumps(to_peft_config(adapter), indent=2, ensure_ascii=False) + "\n"
        for name, content in {**(files or {}), CONFIG_FILE: settings.encode()}.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_bytes(content)
