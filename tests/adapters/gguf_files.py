"""GGUF files for tests, written by the gguf package, or byte by byte where it would refuse."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOKENS = ["<unk>", "<s>", "</s>", *(f"t{number}" for number in range(61))]

Array = NDArray[np.float32]


def random_array(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def llama_tensors(*, heads: int = 4, groups: int = 2, size: int = 16, layers: int = 2) -> dict[str, Array]:
    """Return random tensors by GGUF name, no two of them equal."""
    width, middle = heads * size, 96
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(TOKENS), width)}
    for layer in range(layers):
        for role, shape in {
            "attn_norm": (width,),
            "attn_q": (heads * size, width),
            "attn_k": (groups * size, width),
            "attn_v": (groups * size, width),
            "attn_output": (width, heads * size),
            "ffn_norm": (width,),
            "ffn_gate": (middle, width),
            "ffn_up": (middle, width),
            "ffn_down": (width, middle),
        }.items():
            shapes[f"blk.{layer}.{role}.weight"] = shape
    shapes["output_norm.weight"] = (width,)
    return {name: random_array(shape, seed) for seed, (name, shape) in enumerate(shapes.items())}


def write_gguf(
    path: Path,
    architecture: str = "llama",
    tensors: Mapping[str, Array] | None = None,
    *,
    stored_as: str = "F32",
    settings: Mapping[str, Any] | None = None,
    more: Callable[[Any], object] = bool,
    parts: int = 0,
) -> Path:
    """Write a small model with the gguf package.

    Args:
        path: Destination.
        architecture: GGUF's name of the architecture.
        tensors: In float32, by GGUF name.
        stored_as: The format of matrices; vectors are always F32.
        settings: Keys after the architecture's prefix to add, or to omit if None.
        more: Further calls of the writer.
        parts: Maximum number of tensors per file; 0 writes one file.
    """
    import gguf

    tensors = llama_tensors() if tensors is None else tensors
    width = tensors["token_embd.weight"].shape[1]
    keys: dict[str, Any] = {
        "block_count": 2,
        "context_length": 128,
        "embedding_length": width,
        "feed_forward_length": 96,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10000.0,
    }
    path.parent.mkdir(exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=parts)
    for key, value in (keys | dict(settings or {})).items():
        if isinstance(value, str):
            writer.add_string(f"{architecture}.{key}", value)
        elif isinstance(value, list):
            writer.add_array(f"{architecture}.{key}", value)
        elif isinstance(value, bool):
            writer.add_bool(f"{architecture}.{key}", value)
        elif isinstance(value, float):
            writer.add_float32(f"{architecture}.{key}", value)
        elif value is not None:
            writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([-float(number) for number in range(len(TOKENS))])
    writer.add_token_types([2, 3, 3, *[1] * (len(TOKENS) - 3)])
    more(writer)
    kind = gguf.GGMLQuantizationType[stored_as]
    for name, numbers in tensors.items():
        as_kind = kind if numbers.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize(numbers, as_kind), raw_dtype=as_kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def text(value: str | bytes) -> bytes:
    """Return a string in GGUF encoding."""
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def key(name: str | bytes, kind: int, value: bytes) -> bytes:
    """Return a key with its type and value."""
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, dimensions: tuple[int, ...], number: int = 0, offset: int = 0) -> bytes:
    """Return the header entry of a tensor; dimensions in GGUF's order, the fastest first."""
    return (
        text(name)
        + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
        + struct.pack("<IQ", number, offset)
    )


def header(
    *,
    keys: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    version: int = 3,
    key_count: int | None = None,
    tensor_count: int | None = None,
) -> bytes:
    """Return a header, padded to the start of the tensor data."""
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(keys) if key_count is None else key_count,
    )
    raw = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(keys) + b"".join(tensors)
    return raw + bytes(-len(raw) % 32)
