"""Describe how the GGUF form of an architecture is translated to Hugging Face's."""

import re
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import TypeAlias

import attrs

from litgpt.adapters.checkpoints.gguf.dequantize.dequantize import TensorChunk, TensorPlan
from litgpt.adapters.checkpoints.gguf.dequantize.strided_view import StridedView
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.header import GgufTensor
from litgpt.adapters.checkpoints.gguf.reader.header_reader import FLOAT32
from litgpt.adapters.checkpoints.gguf.reader.quant_types import QUANT_TYPES
from litgpt.adapters.checkpoints.gguf.rope_scaling import TENSORS, rope_scaling
from litgpt.adapters.checkpoints.gguf.tensor_layout import Identity, Target, TensorLayout
from litgpt.adapters.checkpoints.gguf.vocabulary import token_id
from litgpt.domain.errors import CorruptFile

Config: TypeAlias = Mapping[str, object]

_IN_LAYER = re.compile(r"blk\.([0-9]{1,6})\.(.+)")


@attrs.frozen
class HeaderField:
    """A GGUF key, without the architecture prefix, and its `config.json` key; the default None is omitted."""

    gguf_key: str
    hf_key: str
    is_integer: bool = True
    required: bool = False
    default: float | None = None

    def read(self, model: GgufModel) -> float | None:
        value = model.integer(self.gguf_key) if self.is_integer else model.number(self.gguf_key)
        if value is None and self.required:
            raise model.metadata.missing(model.key(self.gguf_key))
        return self.default if value is None else value


def attention_config(model: GgufModel) -> Config:
    """Return the attention heads and the rotated share of each."""
    if model.integer("attention.value_length") not in (None, model.head_dim):
        raise model.metadata.unsupported("its keys and values have different sizes, which is not supported.")
    return {
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "partial_rotary_factor": model.partial_rotary_factor if model.rotary_dim != model.head_dim else None,
    }


@attrs.frozen(kw_only=True)
class ArchitectureMap:
    """How the models of one architecture are translated.

    Attributes:
        constants: Fixed settings of the config.
        attention: Returns the settings of the attention heads.
        extra: Return further settings, derived from the model; their None values are kept as null.
        attribute_map: The family's names of settings, where they differ from the common ones.
        unsupported_keys: Keys without an equivalent, which must be 0, false or absent.
        tensor_map: GGUF names and Hugging Face names or layouts, without `.weight` and `.bias` unless both
            have them; `{}` is the layer number.
        header_tensors: Tensors stored as header arrays with a value per layer: the full keys, with the
            Hugging Face names and shapes.
        interleaved: Whether the rows of queries and keys are permuted for interleaved RoPE.
        norms_have_unit_offset: Whether 1 was added to the norm weights.
        unit_offset_exceptions: The norms without this offset.
        exponentiated: The tensors that are stored as -exp(x).
        variants: Conditions and the maps that apply instead; the first that holds is used.
    """

    architecture: str
    model_type: str
    fields: tuple[HeaderField, ...] = attrs.field(repr=False)
    constants: Config = attrs.field(factory=dict)
    attention: Callable[[GgufModel], Config] = attention_config
    rope_scaling: Callable[[GgufModel], Config | None] = rope_scaling
    extra: tuple[Callable[[GgufModel], Config], ...] = ()
    attribute_map: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    unsupported_keys: tuple[str, ...] = ()
    tensor_map: Mapping[str, str | TensorLayout] = attrs.field(repr=False)
    header_tensors: Mapping[str, tuple[str, tuple[int, ...]]] = attrs.field(factory=dict, repr=False)
    interleaved: bool = False
    norms_have_unit_offset: bool = False
    unit_offset_exceptions: tuple[str, ...] = ()
    exponentiated: tuple[str, ...] = ()
    variants: "tuple[tuple[Callable[[GgufModel], bool], ArchitectureMap], ...]" = ()

    def select_variant(self, model: GgufModel) -> "ArchitectureMap":
        return next((variant.select_variant(model) for holds, variant in self.variants if holds(model)), self)

    def config(self, model: GgufModel) -> dict[str, object]:
        """Return the equivalent of `config.json`."""
        for key in map(model.key, self.unsupported_keys):
            if model.metadata.values.get(key):
                raise model.metadata.unsupported(f"its header sets {key!r}, which is not supported.")
        values = {field.hf_key: field.read(model) for field in self.fields}
        config: dict[str, object] = {**self.constants, **values, **_common_config(model)}
        config |= {"rope_scaling": self.rope_scaling(model), **self.attention(model)}
        config = {"model_type": self.model_type} | {k: v for k, v in config.items() if v is not None}
        # The default of some families may be outside of this model's vocabulary.
        config["pad_token_id"] = token_id(model.metadata, "padding")
        for extra_config in self.extra:
            config |= extra_config(model)
        return {self.attribute_map.get(key, key): value for key, value in config.items()}

    def tensor_plans(self, model: GgufModel) -> dict[str, TensorPlan]:
        """Return how each tensor is read, by Hugging Face name. Unknown tensors keep GGUF's name."""
        plans = dict(self._header_tensor_plans(model))
        for stored in model.tensors.values():
            if stored.name in TENSORS or model.is_mtp_layer(_layer(stored.name)):
                continue  # RoPE factors are translated to the config, and MTP layers are not used
            offset, exponential = self._value_changes(stored.name)
            for name, shape, chunk in self._targets(stored, model):
                if (previous := plans.get(name)) is None:
                    plans[name] = TensorPlan(shape, (chunk,), offset, exponential)
                    continue
                plan = plans[name] = attrs.evolve(previous, chunks=(*previous.chunks, chunk))
                if plan.shape != shape or plan.numel > prod(shape):
                    raise CorruptFile(str(stored.file.path), f"several of its tensors map to {name!r}.")
        for name, plan in plans.items():
            if plan.numel != prod(plan.shape):
                raise CorruptFile(model.metadata.path, f"parts of the tensor {name!r} are missing.")
        return plans

    def _header_tensor_plans(self, model: GgufModel) -> Iterator[tuple[str, TensorPlan]]:
        for key, (name, shape) in self.header_tensors.items():
            array = model.metadata.array(key, of_text=False)
            if array is None or array.kind != FLOAT32 or len(array) != model.num_layers:
                raise model.metadata.invalid(key, f"an array of {model.num_layers} float32 values")
            for layer in range(len(array)):
                value = GgufTensor(array.file, key, (1,), QUANT_TYPES[0], array.start + 4 * layer)
                chunk = TensorChunk(value, StridedView.full(shape))
                yield name.replace("{}", str(layer)), TensorPlan(shape, (chunk,))

    def _value_changes(self, name: str) -> tuple[float, bool]:
        """Return the offset that was added to a tensor, and whether -exp(x) was applied."""
        norm = name.endswith("norm.weight") and _role(name) not in self.unit_offset_exceptions
        return float(self.norms_have_unit_offset and norm), name.rpartition(".")[2] in self.exponentiated

    def _targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:
        """Yield the parts of Hugging Face tensors that a tensor fills."""
        if self.interleaved and (role := _role(stored.name)) in ("attn_q", "attn_k"):
            heads = model.num_heads if role == "attn_q" else model.num_kv_heads
            view = _interleaved_halves(stored, heads)
        else:
            view = None
        layout, kind = self._layout_of(stored.name)
        layer = _layer(stored.name)
        try:
            targets = [*layout.targets(stored, model)]
        except ValueError as error:
            reason = f"the shape {list(stored.shape)} of its tensor {stored.name!r} does not fit its header."
            raise CorruptFile(str(stored.file.path), reason) from error
        for name, shape, part in targets:
            numbered = name if layer is None else name.replace("{}", layer, 1)
            yield f"{numbered}{kind}", shape, part if view is None else TensorChunk(stored, view)

    def _layout_of(self, name: str) -> tuple[TensorLayout, str]:
        """Return the layout of a tensor, and the suffix of its Hugging Face name."""
        in_layer = _IN_LAYER.fullmatch(name)
        generic = name if in_layer is None else f"blk.{{}}.{in_layer[2]}"
        base, _, kind = generic.rpartition(".")
        for key, suffix in ((generic, ""), (base, f".{kind}")):
            if (layout := self.tensor_map.get(key)) is not None:
                return (Identity(layout) if isinstance(layout, str) else layout), suffix
        return Identity(name), ""


def _layer(name: str) -> str | None:
    in_layer = _IN_LAYER.fullmatch(name)
    return None if in_layer is None else in_layer[1]


def _role(name: str) -> str:
    """Return the role of a tensor: `attn_q` for `blk.3.attn_q.weight`."""
    return name.rpartition(".")[0].rpartition(".")[2]


def _interleaved_halves(stored: GgufTensor, heads: int) -> StridedView:
    """Return the rows of each head with its two halves interleaved, as GGUF orders them."""
    if stored.shape[0] % (2 * heads):
        reason = (
            f"the {stored.shape[0]} rows of its tensor {stored.name!r} cannot be split into {heads} heads."
        )
        raise CorruptFile(str(stored.file.path), reason)
    return StridedView.full(stored.shape).split(0, heads, 2, stored.shape[0] // (2 * heads)).swap(1, 2)


def _common_config(model: GgufModel) -> Config:
    metadata, tensors = model.metadata, model.tensors
    # Layers are built before tensors are compared, so an absurd layer count must be rejected here.
    if (model.integer("block_count") or 0) > len(tensors):
        raise metadata.invalid(model.key("block_count"), f"at most {len(tensors)}, the number of its tensors")
    if metadata.flag(model.key("attention.causal")) is False:
        raise metadata.unsupported("its attention is not causal, which is not supported.")
    embedding, tokens = (
        tensors.get("token_embd.weight"),
        metadata.array("tokenizer.ggml.tokens", of_text=True),
    )
    return {
        "num_hidden_layers": model.num_layers,
        "vocab_size": embedding.shape[0] if embedding else tokens and len(tokens),
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": token_id(metadata, "bos"),
        "eos_token_id": token_id(metadata, "eos"),
    }
