"""Plan how an adapter changes the tensors of a checkpoint, in the checkpoint's layout."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.peft.tensor_updates import (
    AddBias,
    AddExperts,
    AddPair,
    SetRows,
    TensorUpdate,
)
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.families.multimodal import text_config
from litgpt.domain.lora.adapter_matching import text_model_name
from litgpt.domain.lora.config import LoraAdapter, LoraWeights, TrainedTokens, adapter_mismatch
from litgpt.domain.lora.expert_targets import (
    INPUTS_FIRST_FAMILIES,
    checkpoint_names,
    unstacked_checkpoint_names,
)
from litgpt.domain.weights.mapping import HEAD_MODULES
from litgpt.domain.weights.tensor_info import STORAGE_FORMATS, TensorInfo

if TYPE_CHECKING:
    import torch


_WEIGHT = ".weight"
_EMBEDDING, _HEAD = "transformer.wte.weight", "lm_head.weight"
# transformers' names of modules with one row per token.
_VOCABULARY_MODULES = (*HEAD_MODULES, "embed_tokens", "wte", "embed_in", "word_embeddings")
# Families whose linear weights are stored as (in, out), regardless of `fan_in_fan_out`.
_TRANSPOSED_FAMILIES = ("gpt2",)


@attrs.define
class MergePlan:
    """The changes that an adapter makes to a checkpoint, by the checkpoint's tensor names.

    Attributes:
        replaced: Tensors that replace the checkpoint's before the updates.
        head: The names of the head and of the embedding, if the adapter unties them.
    """

    updates: "dict[str, list[TensorUpdate]]" = attrs.field(factory=dict, repr=False)
    replaced: "dict[str, torch.Tensor]" = attrs.field(factory=dict, repr=False)
    head: tuple[str, str] | None = None

    def merged_infos(self, tensors: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
        infos = {**tensors, **{name: _info(value) for name, value in self.replaced.items()}}
        if self.head is not None and self.head[0] not in infos:
            infos[self.head[0]] = tensors[self.head[1]]
        return infos

    def merged_config(
        self, config: Mapping[str, object], tensors: Mapping[str, TensorInfo]
    ) -> dict[str, object]:
        """Return the checkpoint's `config.json` with the merged `vocab_size` and `tie_word_embeddings`."""
        changes: dict[str, object] = {}
        for name, value in self.replaced.items():
            if name in tensors and tuple(value.shape) != tensors[name].shape:
                changes["vocab_size"] = value.shape[0]
        if self.head is not None:
            changes["tie_word_embeddings"] = False
        if not changes:
            return dict(config)
        part = config.get("text_config")
        inner = {"text_config": {**part, **changes}} if isinstance(part, Mapping) else {}
        is_flat = text_config(config) is config
        outer = {key: value for key, value in changes.items() if is_flat or key != "vocab_size"}
        return {**config, **inner, **outer}


def plan_merge(
    name: str,
    adapter: "LoraAdapter[torch.Tensor]",
    config: Mapping[str, object],
    tensors: Mapping[str, TensorInfo],
) -> MergePlan:
    """Plan how an adapter changes a checkpoint; an adapter of another model raises InvalidCheckpoint."""
    family = family_of(name, config)
    builder = _PlanBuilder(adapter, family.model_type, tensors)
    for tensor, value in adapter.modules_to_save.items():
        builder.replace(tensor, value)
    for module, pair in adapter.weights.items():
        builder.add(module, pair)
    for module, tokens in adapter.trained_tokens.items():
        builder.set_rows(module, tokens)
    if builder.unknown or builder.shape_mismatches:
        raise adapter_mismatch(name, builder.unknown, builder.shape_mismatches)
    hf_embedding, hf_head = (
        str(next((mapping.hf_names[0] for mapping in family.weights if mapping.name == parameter), ""))
        for parameter in (_EMBEDDING, _HEAD)
    )
    embedding = find_tensor(hf_embedding, tensors)
    is_tied = embedding is not None and parse_config(name, config).tie_word_embeddings
    if embedding is not None and is_tied and find_tensor(hf_head, tensors) is None:
        builder.untie(hf_head, embedding)
    return builder.plan


@attrs.define
class _PlanBuilder:
    """Builds a `MergePlan`. `head_…` are changes to a head that the checkpoint does not store."""

    adapter: "LoraAdapter[torch.Tensor]"
    model_type: str
    tensors: Mapping[str, TensorInfo]
    plan: MergePlan = attrs.field(factory=MergePlan)
    unknown: list[str] = attrs.field(factory=list)
    shape_mismatches: list[str] = attrs.field(factory=list)
    head_updates: dict[str, "list[TensorUpdate]"] = attrs.field(factory=dict)
    head_replaced: "dict[str, torch.Tensor]" = attrs.field(factory=dict)

    def replace(self, saved: str, value: "torch.Tensor") -> None:
        tensor = self._find(saved)
        if tensor is None and saved.removesuffix(_WEIGHT) in HEAD_MODULES:
            self.head_replaced[saved] = value
        elif tensor is None:
            self._replace_experts(saved, value)
        elif self._fits(saved, tuple(value.shape), tensor):
            self.plan.replaced[tensor] = value
        else:
            expected = list(self.tensors[tensor].shape)
            self.shape_mismatches.append(f"{saved} is {list(value.shape)}, expected {expected}")

    def _find(self, name: str) -> str | None:
        """Return the checkpoint's name of a transformers tensor; a head may have any head name."""
        names = [*checkpoint_names(name, self.model_type)]
        if (module := name.removesuffix(_WEIGHT)) in HEAD_MODULES:
            names += [f"{head}{name[len(module) :]}" for head in HEAD_MODULES]
        return next(filter(None, (find_tensor(name, self.tensors) for name in names)), None)

    def _replace_experts(self, saved: str, value: "torch.Tensor") -> None:
        """Replace the separate expert tensors of a checkpoint by slices of a stacked tensor."""
        experts = value if value.ndim == 3 else ()
        parts: dict[str, torch.Tensor] = {}
        for number, expert in enumerate(experts):
            names = self._expert_tensors(saved, number)
            rows = [self.tensors[name].shape[0] for name in names]
            if not names or sum(rows) != expert.shape[0]:
                parts = {}
                break
            parts |= dict(zip(names, expert.split(rows), strict=True))
        if not parts or self._expert_tensors(saved, len(experts)):
            self.unknown.append(saved)
        for tensor, part in parts.items():
            self.replace(tensor, part.contiguous())

    def _expert_tensors(self, parameter: str, expert: int) -> tuple[str, ...]:
        """Return the checkpoint tensors of an expert that a stacked parameter contains, or ()."""
        for names in unstacked_checkpoint_names(parameter, self.model_type, expert):
            tensors = [find_tensor(name, self.tensors) for name in names]
            if all(tensors):
                return tuple(filter(None, tensors))
        return ()

    def add(self, module: str, pair: "LoraWeights[torch.Tensor]") -> None:
        scaling = self.adapter.config.scaling(pair.rank, pair.alpha)
        if (matrix := self._find(f"{module}{_WEIGHT}")) is not None:
            self._add_matrix(module, matrix, pair, scaling)
        elif (stacked := self._find(module)) is not None:
            self._add_stacked(module, stacked, pair, scaling)
        elif not self._add_unstacked(module, pair, scaling):
            if module in HEAD_MODULES:
                self.head_updates[module] = [AddPair(pair, scaling, transposed=False)]
            else:
                self.unknown.append(module)

    def set_rows(self, module: str, tokens: "TrainedTokens[torch.Tensor]") -> None:
        tensor = self._find(f"{module}{_WEIGHT}")
        if tensor is None and module in HEAD_MODULES:
            self.head_updates[module] = [SetRows(tokens)]
        elif tensor is None:
            self.unknown.append(module)
        elif tokens.rows.shape[1:] != self.shape(tensor)[1:] or max(tokens.ids) >= self.shape(tensor)[0]:
            expected = [len(tokens.ids), *self.shape(tensor)[1:]]
            self.shape_mismatches.append(
                f"{module} has trained tokens of shape {list(tokens.rows.shape)}, expected {expected}"
            )
        else:
            self._add_update(tensor, SetRows(tokens))

    def untie(self, head: str, embedding: str) -> None:
        """Give a tied head its own weights if the adapter changes head and embedding differently."""
        module = head.removesuffix(_WEIGHT)
        updates, replacement = self.head_updates.get(module, []), self.head_replaced.get(head)
        has_own = bool(updates) or replacement is not None
        changes = self.plan.updates.get(embedding, [])
        is_same = (
            not has_own
            and embedding not in self.plan.replaced
            and all(isinstance(change, SetRows) for change in changes)
        )
        if is_same or (self.adapter.config.ensure_weight_tying and has_own):
            return
        self.plan.head = (head, embedding)
        if replacement is not None:
            self.plan.replaced[head] = replacement
        self.plan.updates[head] = updates

    def shape(self, tensor: str) -> tuple[int, ...]:
        replaced = self.plan.replaced.get(tensor)
        return self.tensors[tensor].shape if replaced is None else tuple(replaced.shape)

    def _add_matrix(
        self, module: str, tensor: str, pair: "LoraWeights[torch.Tensor]", scaling: float
    ) -> None:
        shape, expected = (pair.lora_B.shape[0], pair.lora_A.shape[1]), self.shape(tensor)
        shape = shape[::-1] if pair.embedding else shape
        may_transpose = self.adapter.fan_in_fan_out or self.model_type in _TRANSPOSED_FAMILIES
        transposed = may_transpose and not pair.embedding and shape[::-1] == expected
        if (shape[::-1] if transposed else shape) != expected:
            self.shape_mismatches.append(f"{module} has shape {list(shape)}, {tensor} has {list(expected)}")
        self._add_update(tensor, AddPair(pair, scaling, transposed))
        if pair.bias is None:
            return
        bias = f"{tensor.removesuffix(_WEIGHT)}.bias"
        if bias in self.tensors:
            self._add_update(bias, AddBias(pair.bias, scaling))
        else:
            self.shape_mismatches.append(
                f"{module} was trained with lora_bias, but the layer has no bias (use load_adapter() instead)"
            )

    def _add_stacked(
        self, module: str, tensor: str, pair: "LoraWeights[torch.Tensor]", scaling: float
    ) -> None:
        experts = pair.lora_A.shape[0] // pair.rank
        transposed = self.model_type in INPUTS_FIRST_FAMILIES
        shape = (pair.lora_B.shape[0], pair.lora_A.shape[1])
        if (experts, *(shape[::-1] if transposed else shape)) != self.shape(tensor):
            self.shape_mismatches.append(
                f"{module} has shape {[experts, *shape]}, {tensor} has {list(self.shape(tensor))}"
            )
        self._add_update(tensor, AddExperts(pair, scaling, experts, transposed))

    def _add_unstacked(self, module: str, pair: "LoraWeights[torch.Tensor]", scaling: float) -> bool:
        experts = pair.lora_A.shape[0] // pair.rank
        for expert in range(experts):
            names = self._expert_tensors(module, expert)
            if not names:
                return False
            start = 0
            for tensor in names:
                rows = slice(start, start := start + self.shape(tensor)[0])
                change = AddExperts(pair, scaling, experts, transposed=False, expert=expert, rows=rows)
                self._add_update(tensor, change)
            shape = [pair.lora_B.shape[0], pair.lora_A.shape[1]]
            expected = [start, *self.shape(names[0])[1:2]]
            if shape != expected:
                self.shape_mismatches.append(f"{module} has shape {shape}, expected {expected}")
        return True

    def _add_update(self, tensor: str, change: "TensorUpdate") -> None:
        self.plan.updates.setdefault(tensor, []).append(change)

    def _fits(self, saved: str, shape: tuple[int, ...], tensor: str) -> bool:
        """Return whether the shapes are equal, except for the rows of a resized vocabulary."""
        stored = self.tensors[tensor].shape
        is_vocabulary = saved.removesuffix(_WEIGHT).rpartition(".")[2] in _VOCABULARY_MODULES
        return shape == stored or (is_vocabulary and shape[1:] == stored[1:])


def find_tensor(name: str, tensors: Collection[str]) -> str | None:
    """Return the checkpoint's name of a weight, which may have one prefix more or less; None if absent."""
    if name in tensors:
        return name
    plain = text_model_name(name)
    candidates = (
        plain,
        plain.partition(".")[2],
        f"language_model.{plain}",
        f"model.language_model.{plain.removeprefix('model.')}",
    )
    return next((candidate for candidate in candidates if candidate in tensors), None)


def _info(value: "torch.Tensor") -> TensorInfo:
    dtype = str(value.dtype).removeprefix("torch.")
    return TensorInfo(tuple(value.shape), STORAGE_FORMATS.get(dtype, "F32"), value.nbytes)
