"""Present LitGPT's tensors under Hugging Face names, by inverting the weight mappings.

LitGPT uses the parameter names of this library. Up to 0.5.3 it stored the fused projection as `attn.attn`,
with its rows ordered by group: a group's queries, its key, its value.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

import attrs

from litgpt.domain.errors import CorruptFile
from litgpt.domain.families import FAMILIES
from litgpt.domain.model import Architecture, ParameterSpec
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.mapping import TensorTarget, invert_mapping, map_parameters
from litgpt.domain.weights.raw_tensor import RawRows, RawTensor
from litgpt.domain.weights.tensor_info import STORAGE_FORMATS, DType, TensorInfo

if TYPE_CHECKING:
    import torch


@attrs.define
class LitGptTensors:
    """The Hugging Face tensors of a LitGPT file, assembled on reading. Unknown tensors keep their name.

    `targets` has the parts of each Hugging Face tensor; it is empty for an unknown tensor.
    """

    weights: Mapping[str, "torch.Tensor"] = attrs.field(repr=False)
    targets: Mapping[str, tuple[TensorTarget, ...]] = attrs.field(repr=False)
    tensors: Mapping[str, TensorInfo] = attrs.field(init=False, repr=False)

    @tensors.default
    def _infos(self) -> Mapping[str, TensorInfo]:
        return {name: self._info(name) for name in self.targets}

    @classmethod
    def from_weights(
        cls, location: str, weights: Mapping[str, "torch.Tensor"], architecture: Architecture
    ) -> "LitGptTensors":
        """Map the tensors of a file; a Hugging Face tensor is omitted if a part of it is missing.

        Raises:
            CorruptFile: The shape of a tensor differs from the one in `model_config.yaml`.
        """
        rules = FAMILIES[architecture.family].weights
        mapped: dict[str, tuple[TensorTarget, ...]] = {}
        known: set[str] = set()
        for hf_name, targets in invert_mapping(tuple(map_parameters(architecture, rules))).items():
            sources = [(target.parameter, _stored_name(target.parameter, weights)) for target in targets]
            known.update(source for _, source in sources)
            if all(source in weights for _, source in sources):
                for parameter, source in sources:
                    _check_shape(location, source, weights[source], parameter)
                mapped[hf_name] = targets
        return cls(weights, mapped | {name: () for name in weights if name not in known})

    def _info(self, name: str) -> TensorInfo:
        targets = self.targets[name]
        stored = self.weights[_stored_name(targets[0].parameter, self.weights) if targets else name]
        shape = targets[0].view.shape if targets else tuple(stored.shape)
        dtype = str(stored.dtype).removeprefix("torch.")
        storage_format = "F64" if dtype == "float64" else STORAGE_FORMATS.get(dtype, dtype)
        return TensorInfo(shape, storage_format, prod(shape) * stored.element_size())

    def fetch(self, report: Reporter) -> None:
        """Do nothing: the weights are local."""

    def read(self, name: str, dtype: DType | None = None) -> "torch.Tensor":
        """Return a tensor: a view of the file if it is stored so in one LitGPT tensor, otherwise a copy."""
        import torch

        tensor = self._assemble(name)
        return tensor if dtype is None else tensor.to(getattr(torch, dtype))

    def raw(self, name: str) -> RawTensor | None:
        """Return the bytes of a tensor that is stored as consecutive rows of one LitGPT tensor."""
        import torch

        info = self.tensors[name]
        tensor = self._stored_rows(self.targets[name], name)
        if (
            tensor is None
            or info.storage_format not in STORAGE_FORMATS.values()
            or not tensor.is_contiguous()
        ):
            return None
        data = tensor.detach().view(-1).view(torch.uint8).numpy().data.toreadonly()
        rows = RawRows(info.storage_format, lambda: data, range(prod(info.shape[:-1])))
        return RawTensor(info.shape, (rows,))

    def close(self) -> None:
        """Release the file. Tensors that were read remain valid."""
        self.weights = {}

    def _assemble(self, name: str) -> "torch.Tensor":
        """Return a Hugging Face tensor: a view of the file if it consists of rows of one LitGPT tensor."""
        targets = self.targets[name]
        if (stored := self._stored_rows(targets, name)) is not None:
            return stored
        tensor: torch.Tensor | None = None
        for target in targets:
            rows = self._rows(target.parameter, target.start, target.view.num_rows)
            tensor = rows.new_empty(target.view.shape) if tensor is None else tensor
            sizes, strides, offset = target.view.strided_layout
            tensor.as_strided(sizes, strides, offset).copy_(rows.unflatten(0, (target.view.num_blocks, -1)))
        assert tensor is not None  # noqa: S101 - targets is not empty
        return tensor

    def _stored_rows(self, targets: Sequence[TensorTarget], name: str) -> "torch.Tensor | None":
        """Return a Hugging Face tensor that consists of rows of one LitGPT tensor; None if it does not."""
        if not targets:
            return self.weights[name]
        parameter, view = targets[0].parameter, targets[0].view
        if len(targets) == 1 and view.is_full:
            return self._rows(parameter, targets[0].start, view.num_rows)
        if _is_unchanged(targets):
            return self._rows(parameter, 0, view.shape[0])
        return None

    def _rows(self, parameter: ParameterSpec, start: int, rows: int) -> "torch.Tensor":
        name = _stored_name(parameter, self.weights)
        tensor = self.weights[name]
        if name != parameter.name:
            return _ungroup_qkv(tensor, parameter, start, rows)
        return tensor if rows == tensor.shape[0] else tensor[start : start + rows]


def _stored_name(parameter: ParameterSpec, weights: Mapping[str, object]) -> str:
    """Return the name of a parameter in the file, which may be its name up to LitGPT 0.5.3."""
    name = parameter.name
    older = name.replace(".attn.qkv.", ".attn.attn.")
    return older if older in weights and name not in weights else name


def _is_unchanged(targets: Sequence[TensorTarget]) -> bool:
    """Return whether a Hugging Face tensor equals a LitGPT tensor although it is mapped in several parts."""
    return len({target.parameter.name for target in targets}) == 1 and all(
        target.start == target.view.start
        and target.view.num_blocks == 1
        and target.view.expert_index is None
        and not target.view.transposed
        for target in targets
    )


def _ungroup_qkv(grouped: "torch.Tensor", parameter: ParameterSpec, start: int, rows: int) -> "torch.Tensor":
    """Return `rows` rows (all of one or several of Q, K and V) of a projection stored group by group."""
    import torch

    by_group = grouped.unflatten(0, (parameter.num_groups, -1))
    parts, row, offset = [], 0, 0
    for count in parameter.split_sizes:
        size = count // parameter.num_groups
        if start <= row < start + rows:
            parts.append(by_group[:, offset : offset + size].flatten(0, 1))
        row, offset = row + count, offset + size
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _check_shape(location: str, source: str, tensor: "torch.Tensor", parameter: ParameterSpec) -> None:
    if tuple(tensor.shape) != parameter.shape:
        actual, expected = list(tensor.shape), list(parameter.shape)
        raise CorruptFile(
            location, f"{source} has shape {actual}, but model_config.yaml requires {expected}."
        )
