"""Weights packed in numpy by the published definition of each format, and their dequantized values."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from tests.adapters.tiny_models import tiny_folder

Array: TypeAlias = np.ndarray[Any, Any]

Pack: TypeAlias = Callable[[str, Array], tuple[Mapping[str, Tensor], Array]]
"""Takes a weight's name and the weight (out, in); returns its parts by name, and what they stand for."""

LAYER = "model.layers.1.mlp.down_proj"


def codes_of(weight: Array, *, bits: int, group: Array) -> tuple[Array, Array, Array]:
    """Return codes (out, in), zeros (groups, out) and scales (groups, out) in float16.

    Args:
        weight: (out, in).
        bits: Of a code.
        group: The group index of each input.
    """
    most, groups = 2**bits - 1, int(group.max()) + 1
    codes = np.zeros(weight.shape, np.int64)
    zeros, scales = np.zeros((groups, len(weight)), np.int64), np.zeros((groups, len(weight)), np.float16)
    for i in range(groups):
        inside = weight[:, group == i]
        low, high = np.minimum(inside.min(1), 0), np.maximum(inside.max(1), 0)
        scales[i] = (high - low) / most
        step = scales[i].astype(np.float32)
        zeros[i] = np.clip(np.round(-low / step), 1, most)
        codes[:, group == i] = np.clip(np.round(inside / step[:, None]) + zeros[i][:, None], 0, most)
    return codes, zeros, scales


def dequantized(codes: Array, zeros: Array, scales: Array, group: Array) -> Array:
    """Return the dequantized weight (out, in) in float32."""
    return ((codes - zeros[group].T) * scales[group].T.astype(np.float32)).astype(np.float32)


def words(numbers: list[int], bits: int) -> list[int]:
    """Pack numbers end to end into signed 32-bit words."""
    whole = sum(number << (place * bits) for place, number in enumerate(numbers))
    raw = whole.to_bytes(len(numbers) * bits // 8, "little")
    return [int.from_bytes(raw[at : at + 4], "little", signed=True) for at in range(0, len(raw), 4)]


def pack_awq(size: int) -> Pack:
    """Pack as AutoAWQ's "gemm": the nibbles of a word are outputs 0, 2, 4, 6, 1, 3, 5 and 7 of eight."""

    def packed(rows: Array) -> Tensor:
        order = (0, 2, 4, 6, 1, 3, 5, 7)
        eights = [[row[at : at + 8] for at in range(0, len(row), 8)] for row in rows.tolist()]
        return _int32([[words([eight[value] for value in order], 4)[0] for eight in row] for row in eights])

    def pack(name: str, weight: Array) -> tuple[Mapping[str, Tensor], Array]:
        group = np.arange(weight.shape[1]) // size
        codes, zeros, scales = codes_of(weight, bits=4, group=group)
        parts = {"qweight": packed(codes.T), "qzeros": packed(zeros), "scales": torch.from_numpy(scales)}
        return _beside(name, parts), dequantized(codes, zeros, scales, group)

    return pack


def pack_gptq(
    size: int, *, bits: int = 4, less_one: bool = True, shuffled: bool = False, with_groups: bool = True
) -> Pack:
    """Pack as AutoGPTQ, with zeros less one; GPTQModel's "gptq_v2" does not subtract one."""

    def pack(name: str, weight: Array) -> tuple[Mapping[str, Tensor], Array]:
        inputs = weight.shape[1]
        group = np.arange(inputs) // (inputs if size == -1 else size)
        if shuffled:
            group = np.random.default_rng(inputs).permutation(group)
        codes, zeros, scales = codes_of(weight, bits=bits, group=group)
        parts = {
            "qweight": _int32([words(row, bits) for row in codes.tolist()]).t(),
            "qzeros": _int32([words(row, bits) for row in (zeros - less_one).tolist()]),
            "scales": torch.from_numpy(scales),
        }
        if with_groups:
            parts["g_idx"] = torch.from_numpy(group.astype(np.int32))
        return _beside(name, parts), dequantized(codes, zeros, scales, group)

    return pack


def write_packed(
    folder: Path,
    pack: Pack,
    settings: object,
    *,
    family: str = "llama",
    rename: Callable[[str], str] = str,
    more: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Write a tiny model with packed projections, and return all weights dequantized.

    Args:
        folder: Destination.
        pack: Packs a projection.
        settings: The `quantization_config`.
        family: The `model_type`.
        rename: Returns the name under which a tensor is written.
        more: Additional tensors.
    """
    shutil.copytree(tiny_folder(family), folder)
    file: dict[str, Tensor] = dict(more or {})
    expected = {}
    for stored, tensor in load_file(folder / "model.safetensors").items():
        name = rename(stored)
        parts, weight = {name: tensor}, tensor.numpy()
        if name.endswith("_proj.weight"):
            packed, weight = pack(name, weight)
            parts = dict(packed)
        file |= parts
        expected[name] = torch.from_numpy(weight)
    write_folder(folder, file, settings)
    return expected


def write_folder(folder: Path, file: Mapping[str, Tensor], settings: object) -> None:
    """Write weights into a folder and settings into its config."""
    save_file({name: tensor.contiguous() for name, tensor in file.items()}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))


def change(folder: Path, settings: object, name: str, tensor: Tensor | None) -> None:
    """Replace a tensor, or remove it if None."""
    file = load_file(folder / "model.safetensors")
    del file[name]
    write_folder(folder, file if tensor is None else {**file, name: tensor}, settings)


def check_weights(folder: Path, expected: Mapping[str, Tensor]) -> None:
    """Check that a folder holds the expected weights, value by value."""
    checkpoint = open_hf_folder(folder, "tiny")
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    assert {name: info.shape for name, info in checkpoint.tensors.items()} == shapes
    for name, tensor in expected.items():
        read = checkpoint.read(name)
        assert read.is_contiguous()
        assert torch.equal(read, tensor), name
        assert torch.equal(checkpoint.read(name, "bfloat16"), tensor.bfloat16()), name


def _int32(rows: list[list[int]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.int32)


def _beside(name: str, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name.removesuffix('.weight')}.{role}": tensor for role, tensor in parts.items()}
