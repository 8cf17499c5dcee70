"""A model and its sequences in the engine."""

import copy
import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.library import ENGINE, check, load_library
from litgpt.adapters.native.low_rank import NativeAdapter, Updates
from litgpt.adapters.native.matrix import PackedMatrix
from litgpt.adapters.native.program.instructions import Program
from litgpt.adapters.native.program.structure import program_structure, vector_tensor, vector_values
from litgpt.adapters.native.structures import Format
from litgpt.adapters.native.structures import Program as ProgramStructure
from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.memory.estimate import active_share
from litgpt.domain.model import Architecture

PAGE_SIZE = 32
"""The positions of a page of the KV cache (`csrc/model/cache.h`)."""

_CACHE_BYTES = {Format.F32: 4.0, Format.BF16: 2.0, Format.Q8: 1.1}
"""The bytes of a value in the KV cache."""

Batch: TypeAlias = Sequence[tuple["NativeSequence", Sequence[int]]]
"""Sequences and their new tokens."""


class NativeModel:
    """A model that the engine runs; owns its weights.

    Attributes:
        architecture: The structure of the model.
        program: The instructions that it executes.
        weights: The packed matrices by parameter name.
        vectors: The biases, norm weights and tables by parameter name.
        cache_format: The format of the KV cache.
        adapter: The low-rank updates of all sequences that are given no others; None: none.
    """

    adapter: NativeAdapter | None = None

    def __init__(
        self,
        architecture: Architecture,
        program: Program,
        matrices: Mapping[str, PackedMatrix],
        vectors: Mapping[str, NDArray[np.float32]],
        *,
        cache_format: Format,
    ) -> None:
        self.architecture = architecture
        self.program, self.cache_format = program, cache_format
        self.weights, self.vectors = dict(matrices), dict(vectors)
        self._library = load_library()
        # The engine reads these arrays for as long as the model exists.
        self._vectors = [vector_values(tensor, vectors) for tensor in program.tensors]
        tensors = [
            self.weights[tensor.name].tensor if vector is None else vector_tensor(vector)
            for tensor, vector in zip(program.tensors, self._vectors, strict=True)
        ]
        self._owner = _Handle(self._library, program_structure(architecture, program, tensors, cache_format))
        self._handle = self._owner.handle

    def new_adapter(self, updates: Updates) -> NativeAdapter:
        """Return low-rank updates by layer, for sequences of this model.

        Raises:
            InsufficientSpace: Memory could not be allocated.
        """
        return NativeAdapter(self._library, self._handle, self.program, updates)

    def with_adapter(self, adapter: NativeAdapter | None) -> Self:
        """Return the same model, whose sequences are also those of this one, with another `adapter`."""
        adapted = copy.copy(self)
        adapted.adapter = adapter
        return adapted

    def shares_sequences(self, other: Self) -> bool:
        """Return whether the sequences and adapters of another model can be used with this one."""
        return self._owner is other._owner

    @property
    def weight_bytes(self) -> int:
        return sum(matrix.data.nbytes for matrix in self.weights.values())

    @property
    def bytes_per_token(self) -> int:
        """The bytes of the weights that are read for a token: of the experts, those that it selects.

        Embeddings are not counted, since one row of them is read, unless the embedding is the head as well.
        """
        architecture, total = self.architecture, 0.0
        head = "transformer.wte.weight" if architecture.tie_word_embeddings else "lm_head.weight"
        for parameter in architecture.parameters():
            if parameter.name in self.weights and (parameter.role != "embedding" or parameter.name == head):
                size = self.weights[parameter.name].data.nbytes
                total += size * active_share(architecture, parameter)
        return round(total)

    @property
    def page_bytes(self) -> int:
        """The bytes of the KV cache of all layers for `PAGE_SIZE` tokens."""
        sizes = (
            it.spec.num_kv_heads * (it.spec.k_head_dim + it.spec.v_head_dim) for it in self.program.caches
        )
        return max(1, PAGE_SIZE * round(sum(sizes) * _CACHE_BYTES[self.cache_format]))

    @property
    def can_truncate(self) -> bool:
        """Whether every sequence can be truncated to any length."""
        return self.architecture.can_truncate_cache

    def rope_values(self, length: int) -> tuple[float, ...]:
        """Return `Program.rope_values` of a sequence of `length` tokens."""
        return self.program.rope_values(length)

    def new_sequence(self, length: int = 1) -> "NativeSequence":
        """Return an empty sequence.

        Args:
            length: The largest number of tokens that it will have, on which the RoPE of some models depends.
        """
        handle, rope = ctypes.c_void_p(), self.rope_values(length)
        new = self._library.litgpt_sequence_new
        check(new(self._handle, ctypes.byref(handle)), "A sequence")
        sequence = NativeSequence(self._library, handle, rope)
        if rope:
            values = (ctypes.c_float * len(rope))(*rope)
            set_rope = self._library.litgpt_sequence_set_rope
            check(set_rope(handle, values, len(rope)), "The RoPE of a sequence")
        return sequence

    def step(
        self,
        batch: Batch,
        logit_rows: Sequence[int] | None = None,
        adapters: Sequence[NativeAdapter | None] | None = None,
    ) -> NDArray[np.float32]:
        """Append tokens to sequences and return logits (R, V).

        After an error, no sequence has changed.

        Args:
            batch: Sequences and their new tokens.
            logit_rows: The tokens after which the logits are computed, as R indices into those of all
                sequences one after another. None: the last token of each sequence.
            adapters: The updates of each sequence, which have no influence on the others. None: `adapter`.

        Raises:
            UnsupportedOperation: A sequence would exceed the context length, or a token id is invalid.
            InsufficientSpace: The KV cache or the activations could not be allocated.
        """
        rows = _last_rows(batch) if logit_rows is None else np.array(logit_rows, dtype=np.int32)
        logits = np.empty((len(rows), self.architecture.vocab_size), dtype=np.float32)
        arguments, rows = self._arguments(batch, rows, adapters)
        status = self._library.litgpt_step(*arguments, len(rows), _ints(rows), _floats(logits))
        check(status, "Generating")
        return logits

    def hidden_states(self, batch: Batch, rows: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens to sequences as `step` does, and return hidden states after the final norm, (R, D).

        `rows` has the tokens whose hidden states are returned, like `logit_rows`.
        """
        indices = np.array(rows, dtype=np.int32)
        hidden = np.empty((len(indices), self.architecture.hidden_size), dtype=np.float32)
        step = self._library.litgpt_step_hidden
        arguments, indices = self._arguments(batch, indices, None)
        status = step(*arguments, len(indices), _ints(indices), _floats(hidden), hidden.size)
        check(status, "Embedding")
        return hidden

    def scores(
        self, batch: Batch, rows: Sequence[int], targets: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Append tokens to sequences as `step` does, and score a token after each of some rows.

        Returns:
            The log-probabilities (R,), NaN where logits are not finite; and 1 where no token is likelier.
        """
        ids = np.array(targets, dtype=np.int32)
        logprobs, greedy = np.empty(len(ids)), np.empty(len(ids), dtype=np.int32)
        arguments, indices = self._arguments(batch, np.array(rows, dtype=np.int32), None)
        doubles = logprobs.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        step = self._library.litgpt_step_scores
        check(step(*arguments, len(ids), _ints(indices), _ints(ids), doubles, _ints(greedy)), "Scoring")
        return logprobs, greedy

    def _arguments(
        self,
        batch: Batch,
        rows: NDArray[np.int32],
        adapters: Sequence[NativeAdapter | None] | None,
    ) -> tuple[tuple[Any, ...], NDArray[np.int32]]:
        """Return the arguments of a step that describe the model and its batch, and the rows of the output.

        Sequences are sorted by adapter.
        """
        own = [self.adapter] * len(batch) if adapters is None else adapters
        counts = np.array([len(tokens) for _, tokens in batch], dtype=np.int32)
        if len(set(map(id, own))) > 1:
            order = sorted(range(len(batch)), key=lambda at: id(own[at]))
            rows = _moved(rows, counts, order)
            batch, own, counts = [batch[at] for at in order], [own[at] for at in order], counts[order]
        tokens = np.fromiter((it for _, ids in batch for it in ids), dtype=np.int32, count=int(counts.sum()))
        handles = (ctypes.c_void_p * len(batch))(*(sequence.handle for sequence, _ in batch))
        updates = (ctypes.c_void_p * len(batch))(*(None if it is None else it.handle for it in own))
        return (self._handle, len(batch), handles, updates, _ints(counts), _ints(tokens)), rows


class _Handle:
    """A model of the C++ library."""

    def __init__(self, library: ctypes.CDLL, structure: ProgramStructure) -> None:
        self._library, self.handle = library, ctypes.c_void_p()
        check(library.litgpt_model_new(ctypes.byref(structure), ctypes.byref(self.handle)), ENGINE)

    def __del__(self) -> None:
        self._library.litgpt_model_free(self.handle)


class NativeSequence:
    """The cached tokens of one sequence; sequences may share the pages of a common prefix.

    Attributes:
        rope: The values that `Program.rope_values` has returned for its length.
    """

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p, rope: tuple[float, ...] = ()) -> None:
        self._library, self.rope = library, rope
        self._handle = handle

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return summary_repr("NativeSequence", length=None if self._handle.value is None else self.length)

    @property
    def handle(self) -> ctypes.c_void_p:
        """The pointer that the library takes.

        Raises:
            ValueError: The sequence is closed.
        """
        if self._handle.value is None:
            raise ValueError("the sequence is closed")
        return self._handle

    @property
    def length(self) -> int:
        return int(self._library.litgpt_sequence_length(self.handle))

    def fork(self) -> "NativeSequence":
        """Return a sequence with the same tokens, which shares the pages of this one."""
        handle = ctypes.c_void_p()
        check(self._library.litgpt_sequence_fork(self.handle, ctypes.byref(handle)), "A sequence")
        return NativeSequence(self._library, handle, self.rope)

    def truncate(self, length: int) -> None:
        """Forget the tokens from `length` on.

        Raises:
            UnsupportedOperation: The sequence is shorter, or entries that a sliding window has left behind
                would be needed again.
        """
        check(self._library.litgpt_sequence_truncate(self.handle, length), "Shortening a sequence")

    def close(self) -> None:
        """Free the pages. The sequence cannot be used any more."""
        if self._handle.value is not None:
            self._library.litgpt_sequence_free(self._handle)
            self._handle = ctypes.c_void_p()


def _last_rows(batch: Batch) -> NDArray[np.int32]:
    return np.cumsum([len(tokens) for _, tokens in batch], dtype=np.int32) - np.int32(1)


def _moved(rows: NDArray[np.int32], counts: NDArray[np.int32], order: Sequence[int]) -> NDArray[np.int32]:
    """Return the numbers that rows have if the sequences are in another order."""
    ends = np.cumsum(counts)
    numbers = np.concatenate([np.arange(ends[at] - counts[at], ends[at]) for at in order])
    moved = np.empty(len(numbers), dtype=np.int32)
    moved[numbers] = np.arange(len(numbers), dtype=np.int32)
    return moved[rows]


def _ints(values: NDArray[np.int32]) -> "ctypes._Pointer[ctypes.c_int32]":
    return values.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))


def _floats(values: NDArray[np.float32]) -> "ctypes._Pointer[ctypes.c_float]":
    return values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
