"""The structures and enumerations of `csrc/api.h`, for ctypes."""

import ctypes
from enum import IntEnum

API_VERSION = 7


class Format(IntEnum):
    """A weight format (`csrc/weights/format.h`)."""

    F32 = 0
    BF16 = 1
    F16 = 2
    Q8 = 3
    Q4 = 4
    Q4M = 5
    Q4Z = 6
    Q5 = 7
    Q5M = 8
    FP4 = 9
    Q4K = 10
    Q5K = 11
    Q6K = 12


class SourceFormat(IntEnum):
    """The format of rows that are packed (`csrc/weights/pack.h`)."""

    F32 = 0
    BF16 = 1
    F16 = 2
    Q8_0 = 3
    Q4_0 = 4
    Q4_1 = 5
    Q5_0 = 6
    Q5_1 = 7
    MXFP4 = 8
    Q2_K = 9
    Q3_K = 10
    Q4_K = 11
    Q5_K = 12
    Q6_K = 13
    Q4Z = 14


VECTOR = -1
"""The format of a vector of float32, such as a bias."""


class Tensor(ctypes.Structure):
    """`litgpt_tensor`."""

    _fields_ = (
        ("format", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("rows", ctypes.c_int64),
        ("cols", ctypes.c_int64),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_int64),
    )


class Instruction(ctypes.Structure):
    """`litgpt_instruction`."""

    _fields_ = (
        ("opcode", ctypes.c_int32),
        ("operands", ctypes.c_int32 * 15),
        ("parameters", ctypes.c_double * 6),
    )


class CacheShape(ctypes.Structure):
    """`litgpt_cache_shape`."""

    _fields_ = (
        ("kv_heads", ctypes.c_int32),
        ("k_dim", ctypes.c_int32),
        ("v_dim", ctypes.c_int32),
        ("element", ctypes.c_int32),
        ("window", ctypes.c_int64),
        ("chunked", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    )


class StateShape(ctypes.Structure):
    """`litgpt_state_shape`."""

    _fields_ = (
        ("heads", ctypes.c_int32),
        ("k_dim", ctypes.c_int32),
        ("v_dim", ctypes.c_int32),
        ("conv_columns", ctypes.c_int32),
        ("conv_channels", ctypes.c_int64),
    )


class Program(ctypes.Structure):
    """`litgpt_program`."""

    _fields_ = (
        ("vocab_size", ctypes.c_int64),
        ("context_length", ctypes.c_int64),
        ("num_buffers", ctypes.c_int32),
        ("num_tensors", ctypes.c_int32),
        ("num_instructions", ctypes.c_int32),
        ("num_layers", ctypes.c_int32),
        ("buffer_widths", ctypes.POINTER(ctypes.c_int64)),
        ("tensors", ctypes.POINTER(Tensor)),
        ("instructions", ctypes.POINTER(Instruction)),
        ("caches", ctypes.POINTER(CacheShape)),
        ("num_states", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("states", ctypes.POINTER(StateShape)),
    )


class Update(ctypes.Structure):
    """`litgpt_update`."""

    _fields_ = (
        ("tensor", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("down", Tensor),
        ("up", Tensor),
        ("bias", Tensor),
    )


_I32, _I64, _HANDLE = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
_FLOATS = ctypes.POINTER(ctypes.c_float)
_INTS = ctypes.POINTER(ctypes.c_int32)
_BATCH = (_HANDLE, _I32, ctypes.POINTER(_HANDLE), ctypes.POINTER(_HANDLE), _INTS, _INTS)

SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "litgpt_api_version": (_I32, ()),
    "litgpt_last_error": (ctypes.c_char_p, ()),
    "litgpt_instruction_set": (ctypes.c_char_p, ()),
    "litgpt_set_threads": (_I32, (_I32,)),
    "litgpt_threads": (_I32, ()),
    "litgpt_packed_bytes": (_I64, (_I32, _I64, _I64)),
    "litgpt_pack": (_I32, (_I32, _I64, _I64, _HANDLE, _I64, _I32, _HANDLE, _I64, _I64, _I64)),
    "litgpt_unpack": (_I32, (ctypes.POINTER(Tensor), _I64, _I64, _FLOATS, _I64)),
    "litgpt_matmul": (_I32, (ctypes.POINTER(Tensor), _FLOATS, _I64, _FLOATS)),
    "litgpt_read_memory": (_I32, (_HANDLE, _I64)),
    "litgpt_model_new": (_I32, (ctypes.POINTER(Program), ctypes.POINTER(_HANDLE))),
    "litgpt_model_free": (None, (_HANDLE,)),
    "litgpt_adapter_new": (_I32, (_HANDLE, _I32, ctypes.POINTER(Update), ctypes.POINTER(_HANDLE))),
    "litgpt_adapter_free": (None, (_HANDLE,)),
    "litgpt_sequence_new": (_I32, (_HANDLE, ctypes.POINTER(_HANDLE))),
    "litgpt_sequence_fork": (_I32, (_HANDLE, ctypes.POINTER(_HANDLE))),
    "litgpt_sequence_set_rope": (_I32, (_HANDLE, _FLOATS, _I64)),
    "litgpt_sequence_truncate": (_I32, (_HANDLE, _I64)),
    "litgpt_sequence_length": (_I64, (_HANDLE,)),
    "litgpt_sequence_free": (None, (_HANDLE,)),
    "litgpt_cache_bytes": (_I64, ()),
    "litgpt_step": (_I32, (*_BATCH, _I32, _INTS, _FLOATS)),
    "litgpt_step_hidden": (_I32, (*_BATCH, _I32, _INTS, _FLOATS, _I64)),
    "litgpt_step_scores": (_I32, (*_BATCH, _I32, _INTS, _INTS, ctypes.POINTER(ctypes.c_double), _INTS)),
}
"""The result and arguments of each function of `csrc/api.h`. Handles are opaque pointers."""
