"""Folders with quantized weights, packed in numpy as published, and their dequantized values."""

import json
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.adapters.tiny_models import save_byte_tokenizer, tiny_folder, tiny_model

Array: TypeAlias = np.ndarray[Any, Any]
Stored: TypeAlias = dict[str, Tensor]

GROUP = 16
BLOCK = 32
BNB_BLOCK = 64
NESTED_BLOCK = 16
EXPERTS = {"hidden_size": 64, "intermediate_size": 96}
"""Sizes of a tiny gpt-oss whose experts are whole blocks."""

AWQ_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)
"""The columns in a word, from the lowest bits to the highest."""

NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
_FP4_HALF = (0.0, 0.0052083333, 0.6666666667, 1.0, 0.3333333333, 0.5, 0.1666666667, 0.25)
FP4 = (*_FP4_HALF, *(-value for value in _FP4_HALF))

_E2M1_HALF = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
E2M1 = (*_E2M1_HALF, *(-value for value in _E2M1_HALF))


@attrs.frozen
class Case:
    """A format with its settings.

    Attributes:
        pack: Takes a layer name and its weight (out, in); returns the stored tensors by name, and the
            dequantized weight.
        config: Its `quantization_config`.
        stored_as: The format's name in `info`.
        note: The note reported when it is loaded.
    """

    pack: Callable[[str, Array], tuple[Stored, Array]]
    config: dict[str, Any]
    stored_as: str
    note: str


def quantized_folder(folder: Path, case: Case, **sizes: int) -> dict[str, Tensor]:
    """Write a tiny llama with quantized projections, and return all tensors as they should be read."""
    source = tiny_folder("llama")
    if sizes:
        source = folder.parent / "plain"
        tiny_model("llama", **sizes).save_pretrained(source)
    stored: Stored = {}
    expected: dict[str, Tensor] = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            stored[name] = expected[name] = tensor
            continue
        packed, weight = case.pack(name.removesuffix(".weight"), tensor.numpy())
        stored |= packed
        expected[name] = torch.from_numpy(weight)
    write(folder, json.loads((source / "config.json").read_text()), case.config, stored)
    return expected


def gpt_oss_folder(folder: Path) -> dict[str, Tensor]:
    """Write a tiny gpt-oss with its experts in MXFP4, and return all tensors as they should be read."""
    model = tiny_model("gpt_oss", **EXPERTS)
    plain = folder.parent / "plain"
    model.save_pretrained(plain)
    stored: Stored = {}
    expected: dict[str, Tensor] = {}
    for name, tensor in load_file(plain / "model.safetensors").items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            packed, weight = mxfp4(tensor.numpy())
            stored |= {f"{name}_{role}": part for role, part in packed.items()}
            expected[name] = torch.from_numpy(weight)
        else:
            stored[name] = expected[name] = tensor
    config = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
    write(folder, json.loads((plain / "config.json").read_text()), config, stored)
    return expected


def write(folder: Path, config: Mapping[str, Any], quantization: Mapping[str, Any], stored: Stored) -> None:
    """Write a folder: config, weights and a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}))
    save_file({name: value.contiguous() for name, value in stored.items()}, folder / "model.safetensors")
    save_byte_tokenizer(folder)


def headers_alone(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Remove the weights, and return the headers that are known before they are downloaded."""
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    shutil.move(path, folder.parent / "away.safetensors")
    return {path.name: (raw[: 8 + int.from_bytes(raw[:8], "little")], len(raw))}


def _nearest(table: Array, numbers: Array) -> Array:
    nearest: Array = np.abs(numbers[..., None] - table).argmin(-1)
    return nearest


def _words(fields: Array, bits: int) -> Tensor:
    """Pack the last dimension, `32 / bits` integers per word, the first in the lowest bits."""
    each = 32 // bits
    grouped = fields.astype(np.uint32).reshape(*fields.shape[:-1], -1, each)
    words = np.zeros(grouped.shape[:-1], np.uint32)
    for place in range(each):
        words |= grouped[..., place] << np.uint32(bits * place)
    return torch.from_numpy(words.view(np.int32).copy())


def _integers(weight: Array, group: Array, bits: int) -> tuple[Array, Array, Array]:
    """Return integers (in, out), and each group's zero-points and scales (groups, out)."""
    columns = weight.T
    count = int(group.max()) + 1
    top = 2**bits - 1
    low = np.stack([np.minimum(columns[group == i].min(0), 0) for i in range(count)])
    high = np.stack([np.maximum(columns[group == i].max(0), 0) for i in range(count)])
    scales = ((high - low) / top).astype(np.float16)
    zeros = np.clip(np.rint(-low / scales), 1, top).astype(np.int64)  # a zero of 0 is stored in no agreed way
    integers = np.clip(np.rint(columns / scales[group]) + zeros[group], 0, top).astype(np.int64)
    return integers, zeros, scales


def _stand_for(integers: Array, zeros: Array, scales: Array, group: Array) -> Array:
    weight = (integers - zeros[group]).astype(np.float32) * scales[group].astype(np.float32)
    return np.ascontiguousarray(weight.T)


def awq(layer: str, weight: Array, *, size: int = GROUP) -> tuple[Stored, Array]:
    """Pack as AutoAWQ's "gemm" does."""
    group = np.arange(weight.shape[1]) // (size if size > 0 else weight.shape[1])
    integers, zeros, scales = _integers(weight, group, 4)

    def packed(fields: Array) -> Tensor:
        return _words(fields.reshape(len(fields), -1, 8)[..., AWQ_COLUMNS].reshape(fields.shape), 4)

    stored = {"qweight": packed(integers), "qzeros": packed(zeros), "scales": torch.from_numpy(scales)}
    return _of(layer, stored), _stand_for(integers, zeros, scales, group)


def gptq(
    layer: str, weight: Array, *, bits: int = 4, size: int = GROUP, shuffled: bool = False, less: int = 1
) -> tuple[Stored, Array]:
    """Pack as AutoGPTQ does, with the unused bias of zeros that it wrote."""
    group = np.arange(weight.shape[1]) // (size if size > 0 else weight.shape[1])
    if shuffled:
        group = np.random.default_rng(0).permutation(group)
    integers, zeros, scales = _integers(weight, group, bits)
    stored = {
        "qweight": _words(integers.T, bits).T,
        "qzeros": _words(zeros - less, bits),
        "scales": torch.from_numpy(scales),
        "g_idx": torch.from_numpy(group.astype(np.int32)),
        "bias": torch.zeros(len(weight), dtype=torch.float16),
    }
    return _of(layer, stored), _stand_for(integers, zeros, scales, group)


def _of(layer: str, stored: Stored) -> Stored:
    return {f"{layer}.{role}": part for role, part in stored.items()}


def _e4m3() -> Array:
    """Return the value of each byte: sign, four exponent bits (bias 7), three mantissa bits."""
    byte = np.arange(256)
    exponent, fraction = (byte >> 3) & 15, (byte & 7) / 8
    size = np.where(exponent == 0, fraction * 2.0**-6, (1 + fraction) * 2.0 ** (exponent - 7.0))
    size[(byte & 127) == 127] = np.inf  # no number
    return np.where(byte & 128, -size, size).astype(np.float32)


def fp8(
    layer: str,
    weight: Array,
    *,
    high: int,
    wide: int,
    ending: str,
    exponents: bool = False,
    flat: bool = False,
) -> tuple[Stored, Array]:
    """Pack in blocks of rows by columns, 0 for all; `flat` scales have one dimension."""
    rows, columns = weight.shape
    row, column = np.arange(rows) // (high or rows), np.arange(columns) // (wide or columns)
    scales = np.zeros((row[-1] + 1, column[-1] + 1), np.float32)
    for i, j in np.ndindex(*scales.shape):
        scales[i, j] = np.abs(weight[np.ix_(row == i, column == j)]).max() / 448
    if exponents:
        scales = 2.0 ** np.ceil(np.log2(scales)).astype(np.float32)
    table = _e4m3()
    each = scales[np.ix_(row, column)]
    codes = _nearest(table, weight / each).astype(np.uint8)
    numbers = torch.from_numpy(codes).view(torch.float8_e4m3fn)
    if exponents:
        stored_scales = torch.from_numpy((np.log2(scales) + 127).astype(np.uint8))
    else:
        stored_scales = torch.from_numpy(scales)
    if flat:
        stored_scales = stored_scales.reshape(-1)
    elif not high:
        stored_scales = stored_scales.reshape(())
    stored = {"weight": numbers, f"weight{ending}": stored_scales, "input_scale": torch.tensor(0.5)}
    return _of(layer, stored), table[codes] * each


def mxfp4(weight: Array) -> tuple[Stored, Array]:
    """Pack experts, (experts, in, out), as gpt-oss has them."""
    rows = np.ascontiguousarray(weight.transpose(0, 2, 1))
    blocks = rows.reshape(*rows.shape[:2], -1, 32)
    exponents = np.floor(np.log2(np.abs(blocks).max(-1))) - 2
    scales = (2.0**exponents).astype(np.float32)[..., None]
    codes = _nearest(np.array(E2M1, np.float32), blocks / scales).astype(np.uint8)
    stands_for = (np.array(E2M1, np.float32)[codes] * scales).reshape(rows.shape)
    stored = {
        "blocks": torch.from_numpy(codes[..., ::2] | codes[..., 1::2] << 4),
        "scales": torch.from_numpy((exponents + 127).astype(np.uint8)),
    }
    return stored, np.ascontiguousarray(stands_for.transpose(0, 2, 1))


def bnb(layer: str, weight: Array, *, kind: str, nested: bool = False) -> tuple[Stored, Array]:
    """Pack as bitsandbytes does, with small blocks of scales so that there are several."""
    table = np.array(NF4 if kind == "nf4" else FP4, np.float32)
    blocks = weight.reshape(-1, BNB_BLOCK)  # the tiny model's weights are whole blocks
    absmax = np.abs(blocks).max(-1)
    state: dict[str, Any] = {"quant_type": kind, "blocksize": BNB_BLOCK, "dtype": "float32"}
    state["shape"] = list(weight.shape)
    stored = {"quant_map": torch.from_numpy(table)}
    if nested:
        offset = np.float32(absmax.mean())
        numbers = np.linspace(-1, 1, 256).astype(np.float32)
        padded = np.pad(absmax - offset, (0, -len(absmax) % NESTED_BLOCK)).reshape(-1, NESTED_BLOCK)
        outer = np.abs(padded).max(-1)
        codes = _nearest(numbers, padded / outer[:, None]).astype(np.uint8)
        absmax = (numbers[codes] * outer[:, None]).reshape(-1)[: len(absmax)] + offset
        stored["absmax"] = torch.from_numpy(codes.reshape(-1)[: len(absmax)])
        stored |= {"nested_absmax": torch.from_numpy(outer), "nested_quant_map": torch.from_numpy(numbers)}
        state |= {"nested_blocksize": NESTED_BLOCK, "nested_dtype": "float32", "nested_offset": float(offset)}
    else:
        stored["absmax"] = torch.from_numpy(absmax)
    codes = _nearest(table, blocks / absmax[:, None]).astype(np.uint8)
    stands_for = (table[codes] * absmax[:, None]).reshape(weight.shape)
    halves = codes.reshape(-1, 2)
    text = np.frombuffer(json.dumps(state).encode(), np.uint8).copy()
    stored[f"quant_state.bitsandbytes__{kind}"] = torch.from_numpy(text)
    packed = {f"{layer}.weight": torch.from_numpy(halves[:, :1] << 4 | halves[:, 1:])}
    return packed | _of(f"{layer}.weight", stored), stands_for


_AWQ = {"quant_method": "awq", "bits": 4, "zero_point": True, "version": "gemm"}
_GPTQ = {"quant_method": "gptq", "sym": False, "checkpoint_format": "gptq"}
_BNB = {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False}


def _compressed(strategy: str, **more: Any) -> dict[str, Any]:
    weights = {
        "num_bits": 8,
        "type": "float",
        "symmetric": True,
        "dynamic": False,
        "strategy": strategy,
        **more,
    }
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None}
    config = {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"]}
    return {**config, "quantization_status": "compressed", "config_groups": {"group_0": group}}


_BLOCKS = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK]}
_BLOCK = partial(fp8, high=BLOCK, wide=BLOCK, ending="_scale_inv")

CASES: dict[str, Case] = {
    "awq": Case(awq, {**_AWQ, "group_size": GROUP}, "AWQ 4-bit", "AWQ to 4 bits"),
    "awq, one group": Case(partial(awq, size=-1), {**_AWQ, "group_size": -1}, "AWQ 4-bit", "AWQ to 4 bits"),
    "gptq": Case(gptq, {**_GPTQ, "bits": 4, "group_size": GROUP}, "GPTQ 4-bit", "GPTQ to 4 bits"),
    "gptq, one group": Case(
        partial(gptq, size=-1), {**_GPTQ, "bits": 4, "group_size": -1}, "GPTQ 4-bit", "GPTQ to 4 bits"
    ),
    "gptq, rows in another order": Case(
        partial(gptq, shuffled=True),
        {**_GPTQ, "bits": 4, "group_size": GROUP, "desc_act": True},
        "GPTQ 4-bit",
        "GPTQ to 4 bits",
    ),
    "gptq, version 2, 8 bits": Case(
        partial(gptq, bits=8, less=0),
        {**_GPTQ, "bits": 8, "group_size": GROUP, "checkpoint_format": "gptq_v2"},
        "GPTQ 8-bit",
        "GPTQ to 8 bits",
    ),
    "fp8 in blocks": Case(_BLOCK, _BLOCKS, "F8_E4M3", "FP8"),
    "fp8 in blocks, scales that are exponents": Case(
        partial(_BLOCK, exponents=True), {**_BLOCKS, "scale_fmt": "ue8m0"}, "F8_E4M3", "FP8"
    ),
    "fp8, one scale": Case(
        partial(fp8, high=0, wide=0, ending="_scale_inv"),
        {"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": None},
        "F8_E4M3",
        "FP8",
    ),
    "fbgemm_fp8": Case(
        partial(fp8, high=1, wide=0, ending="_scale"),
        {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0},
        "F8_E4M3",
        "FP8",
    ),
    "compressed-tensors, a scale for each row": Case(
        partial(fp8, high=1, wide=0, ending="_scale"), _compressed("channel"), "F8_E4M3", "FP8"
    ),
    "compressed-tensors, scales without columns": Case(
        partial(fp8, high=1, wide=0, ending="_scale", flat=True), _compressed("channel"), "F8_E4M3", "FP8"
    ),
    "compressed-tensors, one scale": Case(
        partial(fp8, high=0, wide=0, ending="_scale"), _compressed("tensor"), "F8_E4M3", "FP8"
    ),
    "compressed-tensors, blocks": Case(
        partial(fp8, high=BLOCK, wide=BLOCK, ending="_scale"),
        _compressed("block", block_structure=[BLOCK, BLOCK]),
        "F8_E4M3",
        "FP8",
    ),
    "nf4": Case(partial(bnb, kind="nf4"), {**_BNB, "bnb_4bit_quant_type": "nf4"}, "NF4", "NF4"),
    "nf4, twice": Case(
        partial(bnb, kind="nf4", nested=True),
        {**_BNB, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
        "NF4",
        "NF4",
    ),
    "fp4": Case(partial(bnb, kind="fp4"), {**_BNB, "bnb_4bit_quant_type": "fp4"}, "FP4", "FP4"),
}
"""Every format in which the tiny llama is quantized, and how."""
