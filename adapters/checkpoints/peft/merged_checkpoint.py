"""A base model with an adapter merged."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.hf.config_files import read_optional_json, read_prompt_style, tokenizer_files
from litgpt.adapters.checkpoints.peft.merge import MergePlan, plan_merge
from litgpt.domain.lora.config import LoraAdapter
from litgpt.domain.ports import Checkpoint, TensorSource
from litgpt.domain.progress import Reporter
from litgpt.domain.tokenizer_source import has_tokenizer_files
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_info import DType, TensorInfo

if TYPE_CHECKING:
    import torch


@attrs.frozen
class MergedTensors:
    """The tensors of a base model with a LoRA adapter merged into them, and a head that the adapter unties.

    Each tensor is merged when it is read, so the merged model can be quantized, sharded or converted like any
    other. Changed tensors are copies; the others are views of their files.
    """

    _base: "TensorSource[torch.Tensor]"
    _merge: MergePlan = attrs.field(repr=False)
    tensors: Mapping[str, TensorInfo] = attrs.field(init=False, repr=False)

    @tensors.default
    def _infos(self) -> Mapping[str, TensorInfo]:
        return self._merge.merged_infos(self._base.tensors)

    def fetch(self, report: Reporter) -> None:
        self._base.fetch(report)

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a merged tensor; the update is added in float32 and rounded once."""
        import torch

        if self._is_unchanged(name):
            return self._base.read(name, dtype)
        merge = self._merge
        replacement, updates = merge.replaced.get(name), merge.updates.get(name, [])
        source = merge.head[1] if merge.head is not None and name == merge.head[0] else name
        merged = stored = self._base.read(source) if replacement is None else replacement
        for update in updates:
            merged = update(merged.float())
        return merged.to(stored.dtype if dtype is None else getattr(torch, dtype))

    def raw(self, name: str) -> RawTensor | None:
        return self._base.raw(name) if self._is_unchanged(name) else None

    def _is_unchanged(self, name: str) -> bool:
        merge = self._merge
        return name not in merge.replaced and not merge.updates.get(name) and name in self._base.tensors

    def close(self) -> None:
        self._base.close()


def merged_checkpoint(
    name: str, folder: Path, adapter: "LoraAdapter[torch.Tensor]", base: "Checkpoint[torch.Tensor]"
) -> "Checkpoint[torch.Tensor]":
    """Return the base model with the adapter in a folder merged; the folder's small files take precedence."""
    plan = plan_merge(name, adapter, base.config, base.tensors)
    tokenizer = tokenizer_files(folder)
    return attrs.evolve(
        base,
        name=name,
        origin=f"the adapter {folder} on {base.origin}",
        folder=folder,
        path=folder,
        config=plan.merged_config(base.config, base.tensors),
        generation_config=read_optional_json(folder / "generation_config.json") or base.generation_config,
        prompt_style=read_prompt_style(folder) or base.prompt_style,
        notes=(*base.notes, f"the adapter is merged into {base.origin}."),
        read_tokenizer=(lambda: tokenizer) if has_tokenizer_files(tokenizer.paths) else base.read_tokenizer,
        source=MergedTensors(base.source, plan),
    )
