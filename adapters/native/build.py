"""Build a model of the engine from a checkpoint."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.matrix import MatrixMemory
from litgpt.adapters.native.model import NativeModel
from litgpt.adapters.native.program.compiler import compile_program
from litgpt.adapters.native.structures import Format
from litgpt.adapters.native.weights.arrays import RecentReads
from litgpt.adapters.native.weights.formats import NativeQuantization, choose_formats, computes_codes
from litgpt.adapters.native.weights.packing import pack_parameter, read_vector
from litgpt.domain.distribution.engine import KVCacheFormat
from litgpt.domain.model import Architecture
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import Progress, Reporter
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import DType


def build_model(
    architecture: Architecture,
    sources: Sequence[ParameterSource],
    checkpoint: Checkpoint[Any],
    report: Reporter,
    *,
    dtype: DType,
    keeps_quantization: bool = False,
    quantize: NativeQuantization | None = None,
    kv_cache: KVCacheFormat | None = None,
) -> NativeModel:
    """Read the weights of a model and pack them.

    Args:
        architecture: The model.
        sources: Its parameters, and the tensors that they are made of.
        checkpoint: The stored model.
        report: Receives the progress.
        dtype: The dtype of matrices that are neither kept as they are nor quantized.
        keeps_quantization: Whether weights stay in the format in which they are stored.
        quantize: The quantization of the projections.
        kv_cache: The format of the KV cache; None: `dtype`, and bfloat16 for float16.

    Raises:
        UnsupportedOperation: The engine does not have a part of the model, or is not installed.
        CorruptFile: A tensor could not be read.
        InsufficientSpace: Memory could not be allocated.
    """
    program = compile_program(architecture, rounded=partial(_rounded, dtype))
    kinds = {tensor.name: tensor.kind for tensor in program.tensors if tensor.kind in ("matrix", "vector")}
    own_dtype = None if keeps_quantization else dtype
    packed = [source for source in sources if kinds.get(source.parameter.name) == "matrix"]
    plan = choose_formats(checkpoint, packed, own_dtype, quantize)
    formats = {source.parameter.name: target for source, target in plan}
    entry = None
    if any(computes_codes(checkpoint, source, target) for source, target in plan):
        from litgpt.adapters.native.weights.packed_cache import cache_entry  # others do not need it

        entry = cache_entry(checkpoint, plan)
    vectors: dict[str, NDArray[np.float32]] = {}
    reader, memory = RecentReads(checkpoint), MatrixMemory()
    cached = {} if entry is None else entry.read(memory)
    matrices = dict(cached)
    message = f"Loading {checkpoint.name}"
    for done, source in enumerate(sources):
        report(Progress(message, done, len(sources)))
        name = source.parameter.name
        if name in cached:
            continue
        if name in formats:
            matrices[name] = pack_parameter(reader, source, formats[name], memory)
        elif name in kinds:
            vectors[name] = read_vector(reader, source)
    report(Progress(message, len(sources), len(sources)))
    if entry is not None and not cached:
        entry.write(matrices)
    own_format = Format.F32 if dtype == "float32" else Format.BF16
    cache_format = Format.Q8 if kv_cache == "int8" else own_format
    return NativeModel(architecture, program, matrices, vectors, cache_format=cache_format)


def _rounded(dtype: DType, factor: float) -> float:
    if dtype == "float32":
        return factor
    if dtype == "float16":
        return float(np.float16(factor))
    bits = np.float32(factor).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> np.uint32(16)) & 1)) & 0xFFFF0000
    return float(np.uint32(rounded).view(np.float32))
