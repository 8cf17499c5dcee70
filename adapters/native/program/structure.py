"""Programs as the structure that the C++ library takes."""

import ctypes
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.program.instructions import Program, ProgramTensor
from litgpt.adapters.native.structures import VECTOR, CacheShape, Format, Instruction, StateShape, Tensor
from litgpt.adapters.native.structures import Program as ProgramStructure
from litgpt.domain.model import Architecture, SinusoidalSpec, rope_frequencies

_TILE_ROWS = 16

_MAX_CONTEXT = 2**31 - 1
"""The most positions that the engine counts."""


def vector_values(
    tensor: ProgramTensor, vectors: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32] | None:
    """Return the values of a vector; those of biases are padded, as the rows of products are.

    Inverse frequencies keep their length, which is the number of rotated pairs. The kernels of a convolution
    (C, 1, W) become W rows, so that the values of consecutive channels are adjacent.
    """
    if tensor.kind == "matrix":
        return None
    if tensor.kind == "constant":
        return np.array(tensor.values, dtype=np.float32)
    if tensor.kind == "sinusoidal":
        return _sinusoidal_table(*map(int, tensor.values))
    values = np.ascontiguousarray(vectors[tensor.name], dtype=np.float32)
    if values.ndim == 3:
        return np.ascontiguousarray(values[:, 0].T)
    return values if values.ndim > 1 else padded_bias(values)


def _sinusoidal_table(rows: int, width: int, num_steps: int) -> NDArray[np.float32]:
    frequencies = rope_frequencies.sinusoidal_frequencies(
        SinusoidalSpec(num_steps=num_steps), width, lambda values: np.array(values, np.float32)
    )
    angles = np.arange(rows, dtype=np.float32)[:, None] * frequencies
    return np.concatenate((np.sin(angles), np.cos(angles)), 1)


def padded_bias(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a bias with zeros up to a multiple of the rows of a tile."""
    return np.pad(values, (0, -len(values) % _TILE_ROWS))


def vector_tensor(values: NDArray[np.float32]) -> Tensor:
    """Return the structure of a vector; valid for as long as the array is."""
    rows = len(values) if values.ndim > 1 else 1
    return Tensor(VECTOR, 0, rows, values.size // rows, values.ctypes.data, values.nbytes)


def program_structure(
    architecture: Architecture, program: Program, tensors: Sequence[Tensor], cache_format: Format
) -> ProgramStructure:
    """Return the structure of a program whose tensors are `tensors`."""
    widths, caches, states = program.buffer_widths, program.caches, program.states
    return ProgramStructure(
        vocab_size=architecture.vocab_size,
        context_length=min(architecture.context_length, _MAX_CONTEXT),
        num_buffers=len(widths),
        num_tensors=len(tensors),
        num_instructions=len(program.instructions),
        num_layers=len(caches),
        buffer_widths=(ctypes.c_int64 * len(widths))(*widths),
        tensors=(Tensor * len(tensors))(*tensors),
        instructions=(Instruction * len(program.instructions))(
            *(Instruction(it.opcode, it.operands, it.parameters) for it in program.instructions)
        ),
        caches=(CacheShape * len(caches))(
            *(
                CacheShape(
                    it.spec.num_kv_heads,
                    it.spec.k_head_dim,
                    it.spec.v_head_dim,
                    cache_format,
                    it.window,
                    int(it.chunked),
                    0,
                )
                for it in caches
            )
        ),
        num_states=len(states),
        states=(StateShape * len(states))(
            *(
                StateShape(
                    *(it.recurrent_shape if len(it.recurrent_shape) == 3 else (0, 0, 0)),
                    it.conv_shape[1],
                    it.conv_shape[0],
                )
                for it in states
            )
        ),
    )
