"""What an adapter makes of the tensors of a checkpoint, in the layout that files have them in."""

from collections.abc import Collection, Iterator, Mapping
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
from litgpt.domain.weights.tensor_info import TensorInfo

if TYPE_CHECKING:
    import torch


_WEIGHT = ".weight"
_EMBEDDING, _HEAD = "transformer.wte.weight", "lm_head.weight"
# What transformers calls heads, and modules with a row for each token.
_HEAD_NAMES = ("lm_head", "embed_out")
_VOCABULARY_MODULES = (*_HEAD_NAMES, "embed_tokens", "wte", "embed_in", "word_embeddings")
# Families whose linear layers are written as (in, out), whatever `fan_in_fan_out` says.
_TRANSPOSED_FAMILIES = ("gpt2",)
_STORAGE_FORMATS = {"torch.float32": "F32", "torch.bfloat16": "BF16", "torch.float16": "F16"}


@attrs.define
class MergePlan:
    """How an adapter changes a checkpoint.

    Attributes:
        updates: What is done with each tensor that changes, by its name in the checkpoint.
        replaced: Tensors that take the place of the checkpoint's before that.
        head: The names of a head that was the embedding and of that, if they differ now.

    """

    updates: "dict[str, list[TensorUpdate]]" = attrs.field(factory=dict, repr=False)
    replaced: "dict[str, torch.Tensor]" = attrs.field(factory=dict, repr=False)
    head: tuple[str, str] | None = None

    def merged_infos(self, tensors: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
        """Return what the tensors are then."""
        found = {**tensors, **{name: _info(value) for name, value in self.replaced.items()}}
        if self.head is not None and self.head[0] not in found:
            found[self.head[0]] = tensors[self.head[1]]
        return found

    def merged_config(
        self, config: Mapping[str, object], tensors: Mapping[str, TensorInfo]
    ) -> dict[str, object]:
        """Return the checkpoint's `config.json`, with the vocabulary's size and whether the head is tied."""
        said: dict[str, object] = {}
        for name, value in self.replaced.items():
            if name in tensors and tuple(value.shape) != tensors[name].shape:
                said["vocab_size"] = value.shape[0]
        if self.head is not None:
            said["tie_word_embeddings"] = False
        if not said:
            return dict(config)
        part = config.get("text_config")
        inside = {"text_config": {**part, **said}} if isinstance(part, Mapping) else {}
        outside = (
            said if text_config(config) is config else {k: v for k, v in said.items() if k != "vocab_size"}
        )
        return {**config, **inside, **outside}


def plan_merge(
    name: str,
    adapter: "LoraAdapter[torch.Tensor]",
    config: Mapping[str, object],
    tensors: Mapping[str, TensorInfo],
) -> MergePlan:
    """Return how an adapter changes a checkpoint.

    Args:
        name: What to call the adapter in an error.
        adapter: The adapter.
        config: The checkpoint's `config.json`.
        tensors: Its tensors, by name.

    Raises:
        BadCheckpoint: It is for another model; the error lists all that does not fit.
        UnsupportedModel: The checkpoint is of a family that is not implemented.

    """
    found = _PlanBuilder(adapter, family_of(name, config).model_type, tensors)
    for tensor, value in adapter.modules_to_save.items():
        found.replace(tensor, value)
    for module, pair in adapter.weights.items():
        found.add(module, pair)
    for module, tokens in adapter.trained_tokens.items():
        found.set_rows(module, tokens)
    if found.unknown or found.shape_mismatches:
        raise adapter_mismatch(name, found.unknown, found.shape_mismatches)
    family = family_of(name, config)
    embedding, head = (
        next((one.hf_names[0] for one in family.weights if one.name == ours), "")
        for ours in (_EMBEDDING, _HEAD)
    )
    there = find_tensor(str(embedding), tensors)
    if (
        there is not None
        and parse_config(name, config).tie_word_embeddings
        and find_tensor(str(head), tensors) is None
    ):
        found.untie(str(head), there)
    return found.plan


@attrs.define
class _PlanBuilder:
    """What has been found out so far of how an adapter changes a checkpoint."""

    adapter: "LoraAdapter[torch.Tensor]"
    model_type: str
    tensors: Mapping[str, TensorInfo]
    plan: MergePlan = attrs.field(factory=MergePlan)
    unknown: list[str] = attrs.field(factory=list)
    shape_mismatches: list[str] = attrs.field(factory=list)
    unstacked_updates: dict[str, "list[TensorUpdate]"] = attrs.field(
        factory=dict
    )  # of a head that the checkpoint may not have
    unstacked_replaced: "dict[str, torch.Tensor]" = attrs.field(factory=dict)

    def replace(self, saved: str, value: "torch.Tensor") -> None:
        """Take note of a tensor that takes the place of one."""
        names = (find_tensor(name, self.tensors) for name in self._checkpoint_names(saved))
        tensor = next((one for one in names if one is not None), None)
        if tensor is None and saved.removesuffix(_WEIGHT) in _HEAD_NAMES:
            self.unstacked_replaced[saved] = value
        elif tensor is None:
            self._replace_experts(saved, value)
        elif (shape := tuple(value.shape)) == self.tensors[tensor].shape or self._is_resized(
            saved, shape, tensor
        ):
            self.plan.replaced[tensor] = value
        else:
            expected = list(self.tensors[tensor].shape)
            self.shape_mismatches.append(f"{saved} is {list(value.shape)}, expected {expected}")

    def _checkpoint_names(self, name: str) -> Iterator[str]:
        """Yield the names that files may have for a tensor of transformers: of a head, those of any head."""
        yield from checkpoint_names(name, self.model_type)
        if (module := name.removesuffix(_WEIGHT)) in _HEAD_NAMES:
            yield from (f"{head}{name[len(module) :]}" for head in _HEAD_NAMES)

    def _replace_experts(self, saved: str, value: "torch.Tensor") -> None:
        """Take note of stacked experts that take the place of the ones that the checkpoint has one by one."""
        experts = value if value.ndim == 3 else ()
        parts: dict[str, torch.Tensor] = {}
        for number, expert in enumerate(experts):
            there = self._expert_tensors(saved, number)
            rows = [self.tensors[one].shape[0] for one in there]
            if not there or sum(rows) != expert.shape[0]:
                parts = {}
                break
            parts |= dict(zip(there, expert.split(rows), strict=True))
        if not parts or self._expert_tensors(saved, len(experts)):
            self.unknown.append(saved)
        for tensor, part in parts.items():
            self.replace(tensor, part.contiguous())

    def _expert_tensors(self, parameter: str, expert: int) -> tuple[str, ...]:
        """Return the tensors that a parameter stacks for an expert; empty if there are none."""
        for names in unstacked_checkpoint_names(parameter, self.model_type, expert):
            found = [find_tensor(name, self.tensors) for name in names]
            if all(found):
                return tuple(one for one in found if one is not None)
        return ()

    def add(self, module: str, pair: "LoraWeights[torch.Tensor]") -> None:
        """Take note of a pair."""
        scaling = self.adapter.config.scaling(pair.rank, pair.alpha)
        for name in self._checkpoint_names(f"{module}{_WEIGHT}"):
            if (tensor := find_tensor(name, self.tensors)) is not None:
                self._add_matrix(module, tensor, pair, scaling)
                return
        for name in checkpoint_names(module, self.model_type):
            if (tensor := find_tensor(name, self.tensors)) is not None:
                self._add_stacked(module, tensor, pair, scaling)
                return
        if self._add_unstacked(module, pair, scaling):
            return
        if module in _HEAD_NAMES:
            self.unstacked_updates[module] = [AddPair(pair, scaling, transposed=False)]
        else:
            self.unknown.append(module)

    def set_rows(self, module: str, tokens: "TrainedTokens[torch.Tensor]") -> None:
        """Take note of trained tokens."""
        names = (find_tensor(name, self.tensors) for name in self._checkpoint_names(f"{module}{_WEIGHT}"))
        tensor = next((one for one in names if one is not None), None)
        if tensor is None and module in _HEAD_NAMES:
            self.unstacked_updates[module] = [SetRows(tokens)]
        elif tensor is None:
            self.unknown.append(module)
        elif tokens.rows.shape[1:] != self.shape(tensor)[1:] or max(tokens.ids) >= self.shape(tensor)[0]:
            expected = [len(tokens.ids), *self.shape(tensor)[1:]]
            self.shape_mismatches.append(
                f"{module} has tokens {list(tokens.rows.shape)}, expected {expected}"
            )
        else:
            self._add_update(tensor, SetRows(tokens))

    def untie(self, head: str, embedding: str) -> None:
        """Give a head, which is the embedding, what is its own, if the two differ then."""
        module = head.removesuffix(_WEIGHT)
        own, whole = self.unstacked_updates.get(module, []), self.unstacked_replaced.get(head)
        changes = self.plan.updates.get(embedding, [])
        replaced = embedding in self.plan.replaced
        is_same = (
            not own and whole is None and not replaced and all(isinstance(one, SetRows) for one in changes)
        )
        if is_same or (self.adapter.config.ensure_weight_tying and (own or whole is not None)):
            return
        self.plan.head = (head, embedding)
        if whole is not None:
            self.plan.replaced[head] = whole
        self.plan.updates[head] = own

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the shape of a tensor, which may have been replaced."""
        replaced = self.plan.replaced.get(tensor)
        return self.tensors[tensor].shape if replaced is None else tuple(replaced.shape)

    def _add_matrix(
        self, module: str, tensor: str, pair: "LoraWeights[torch.Tensor]", scaling: float
    ) -> None:
        shape, expected = (pair.lora_B.shape[0], pair.lora_A.shape[1]), self.shape(tensor)
        shape = shape[::-1] if pair.embedding else shape
        says = self.adapter.fan_in_fan_out or self.model_type in _TRANSPOSED_FAMILIES
        transposed = says and not pair.embedding and shape[::-1] == expected
        if (shape[::-1] if transposed else shape) != expected:
            self.shape_mismatches.append(f"{module} is for {list(shape)}, and {tensor} is {list(expected)}")
        self._add_update(tensor, AddPair(pair, scaling, transposed))
        if pair.bias is None:
            return
        bias = f"{tensor.removesuffix(_WEIGHT)}.bias"
        if bias in self.tensors:
            self._add_update(bias, AddBias(pair.bias, scaling))
        else:
            self.shape_mismatches.append(
                f"{module} was trained with lora_bias, and has no bias to add it to (load_adapter() can)"
            )

    def _add_stacked(
        self, module: str, tensor: str, pair: "LoraWeights[torch.Tensor]", scaling: float
    ) -> None:
        experts = pair.lora_A.shape[0] // pair.rank
        transposed = self.model_type in INPUTS_FIRST_FAMILIES
        shape = (pair.lora_B.shape[0], pair.lora_A.shape[1])
        if (experts, *(shape[::-1] if transposed else shape)) != self.shape(tensor):
            self.shape_mismatches.append(
                f"{module} is for {[experts, *shape]}, and {tensor} is {list(self.shape(tensor))}"
            )
        self._add_update(tensor, AddExperts(pair, scaling, experts, transposed))

    def _add_unstacked(self, module: str, pair: "LoraWeights[torch.Tensor]", scaling: float) -> bool:
        experts = pair.lora_A.shape[0] // pair.rank
        for expert in range(experts):
            there = self._expert_tensors(module, expert)
            if not there:
                return False
            start = 0
            for tensor in there:
                rows = slice(start, start := start + self.shape(tensor)[0])
                change = AddExperts(pair, scaling, experts, transposed=False, expert=expert, rows=rows)
                self._add_update(tensor, change)
            if start != pair.lora_B.shape[0] or self.shape(there[0])[1] != pair.lora_A.shape[1]:
                self.shape_mismatches.append(
                    f"{module} is for {[pair.lora_B.shape[0], pair.lora_A.shape[1]]}"
                )
        return True

    def _add_update(self, tensor: str, change: "TensorUpdate") -> None:
        self.plan.updates.setdefault(tensor, []).append(change)

    def _is_resized(self, saved: str, shape: tuple[int, ...], tensor: str) -> bool:
        """Whether a tensor is an embedding or a head of another vocabulary."""
        is_vocabulary = saved.removesuffix(_WEIGHT).rpartition(".")[2] in _VOCABULARY_MODULES
        return is_vocabulary and shape[1:] == self.tensors[tensor].shape[1:]


def find_tensor(name: str, tensors: Collection[str]) -> str | None:
    """Return what a file calls a weight; some leave the first level out, some have one more."""
    if name in tensors:
        return name
    plain = text_model_name(name)
    more = (
        plain,
        plain.partition(".")[2],
        f"language_model.{plain}",
        f"model.language_model.{plain.removeprefix('model.')}",
    )
    return next((one for one in more if one in tensors), None)


def _info(value: "torch.Tensor") -> TensorInfo:
    return TensorInfo(tuple(value.shape), _STORAGE_FORMATS.get(str(value.dtype), "F32"), value.nbytes)
