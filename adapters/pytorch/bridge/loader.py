"""Build a model of transformers with the weights of a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from litgpt.adapters.pytorch.bridge.config import model_class, read_config
from litgpt.adapters.pytorch.bridge.model import BridgedModel
from litgpt.adapters.pytorch.ops.dtypes import TORCH_DTYPES
from litgpt.domain.bridge import BridgedArchitecture
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.errors import CheckpointMismatch
from litgpt.domain.families.multimodal import is_multimodal, text_config, text_tensor_names
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Progress, Reporter
from litgpt.domain.validation.untrusted_files import translate_read_errors


def load_bridged(
    placement: Placement,
    architecture: BridgedArchitecture,
    checkpoint: Checkpoint[Tensor],
    report: Reporter,
) -> BridgedModel:
    """Return a model on its device, with its weights.

    The tensors are read by this library, from safetensors and the other formats that it opens, and
    transformers assigns them, with the changes of names and layouts that it makes for its own files.

    Raises:
        CheckpointMismatch: Tensors are missing, unexpected or of the wrong shape.
        CorruptFile: A tensor could not be read.
    """
    config, name = checkpoint.config, checkpoint.name
    names = (
        text_tensor_names(checkpoint.tensors)
        if is_multimodal(config)
        else {tensor: tensor for tensor in checkpoint.tensors}
    )
    read = read_config(name, text_config(config), num_tensors=len(checkpoint.tensors))
    tensors = {}
    for done, (usual, own) in enumerate(names.items()):
        report(Progress(f"Loading {name}", done, len(names)))
        tensors[usual] = checkpoint.read(own)
    kind = model_class(name, read.model_type)
    with translate_read_errors(f"the weights of {name}"), _without_progress_bars():
        hf_model, info = kind.from_pretrained(
            None,
            config=read,
            state_dict=tensors,
            dtype=TORCH_DTYPES[placement.dtype],
            ignore_mismatched_sizes=True,  # they are reported below
            output_loading_info=True,
        )
    _check(name, info)
    report(Progress(f"Loading {name}", len(names), len(names)))
    hf_model.to(torch.device(placement.device))
    model = BridgedModel(hf_model, architecture)
    if placement.trainable:
        return model.requires_grad_().train()
    return model.requires_grad_(False).eval()


def _check(name: str, info: Any) -> None:
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    shapes = tuple(
        f"{tensor} is {list(stored)}, expected {list(expected)}"
        for tensor, stored, expected in sorted(info["mismatched_keys"])
    )
    if missing or unexpected or shapes:
        raise CheckpointMismatch(name, tuple(missing), tuple(unexpected), shapes)


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Write no progress bars of transformers, which would interrupt those of this library."""
    from transformers.utils import logging

    were_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_enabled:
            logging.enable_progress_bar()
