"""Decode the stored bytes of tensors with numpy and the gguf package, as an oracle."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from litgpt.domain.ports import Checkpoint
from litgpt.domain.weights.raw_tensor import RawTensor


def stored_bytes(checkpoint: Checkpoint[Any]) -> dict[str, RawTensor]:
    """Return the tensors that have `raw` bytes, after checking that those are the values that are read."""
    stored = {name: raw for name in checkpoint.tensors if (raw := checkpoint.raw(name))}
    for name, raw in stored.items():
        expected = checkpoint.read(name, "float32").numpy()
        assert raw.shape == expected.shape, name
        assert all(part.read().readonly for part in raw.parts), name
        assert decode(raw).tobytes() == expected.tobytes(), name
    return stored


def decode(raw: RawTensor) -> NDArray[np.float32]:
    """Return the values of a tensor in float32."""
    columns = raw.num_columns
    values = np.full((raw.num_rows, columns), np.nan, np.float32)
    for part in raw.parts:
        block, block_bytes = _block_size(part.storage_format)
        rows = np.frombuffer(part.read(), np.uint8).reshape(-1, columns // block * block_bytes)
        numbers = np.asarray(part.row_numbers)
        assert len(rows) == len(numbers)
        assert np.isnan(values[numbers]).all()  # no row is stored twice
        values[numbers] = dequantize_rows(rows, part.storage_format)
    values = values.reshape(raw.stored_shape) - np.float32(raw.offset)
    return values.swapaxes(-1, -2) if raw.transposed else values


def _block_size(storage_format: str) -> tuple[int, int]:
    import gguf

    if storage_format == "Q4Z":
        return 32, 19
    return gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[storage_format]]


def dequantize_rows(rows: NDArray[np.uint8], storage_format: str) -> NDArray[np.float32]:
    """Return the values of rows of blocks, of shape (rows, columns)."""
    import gguf

    if storage_format in ("F32", "F16"):
        kind = np.float32 if storage_format == "F32" else np.float16
        return np.frombuffer(rows.tobytes(), kind).astype(np.float32).reshape(len(rows), -1)
    if storage_format == "Q4Z":
        blocks = rows.reshape(len(rows), -1, 19)
        scales = np.ascontiguousarray(blocks[..., :2]).view(np.float16).astype(np.float32)
        codes = np.concatenate([blocks[..., 3:] & 15, blocks[..., 3:] >> 4], axis=-1).astype(np.float32)
        return (scales * (codes - blocks[..., 2:3])).reshape(len(rows), -1)
    return gguf.quants.dequantize(rows, gguf.GGMLQuantizationType[storage_format]).reshape(len(rows), -1)
