"""From GGUF's dialect to Hugging Face's: the words in which `architectures` describes the change."""

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
    """A key of a GGUF header and the key of `config.json` that says the same.

    Attributes:
        gguf_key: GGUF's key, behind the architecture's name.
        hf_key: The key in `config.json`.
        is_integer: Whether it is a whole number.
        required: Whether it has to be there.
        default: What its absence means; None leaves it out of the config.

    """

    gguf_key: str
    hf_key: str
    is_integer: bool = True
    required: bool = False
    default: float | None = None

    def read(self, model: GgufModel) -> float | None:
        """Return the value.

        Raises:
            CorruptFile: It is required and absent, or cannot be right.

        """
        value = model.integer(self.gguf_key) if self.is_integer else model.number(self.gguf_key)
        if value is None and self.required:
            raise model.metadata.missing(model.key(self.gguf_key))
        return self.default if value is None else value


def attention_config(model: GgufModel) -> Config:
    """Return the heads of an attention that keeps keys and values, and which share of each is rotated.

    Raises:
        UnsupportedModel: Keys and values are of different sizes.

    """
    if model.integer("attention.value_length") not in (None, model.head_dim):
        raise model.metadata.unsupported(
            "its keys and values are of different sizes, which is not implemented."
        )
    return {
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "partial_rotary_factor": model.partial_rotary_factor if model.rotary_dim != model.head_dim else None,
    }


@attrs.frozen(kw_only=True)
class ArchitectureMap:
    """How GGUF writes the models of one architecture.

    Attributes:
        architecture: What GGUF calls it.
        model_type: What Hugging Face calls it.
        fields: Which keys are which.
        constants: What `config.json` says besides, whatever the header says.
        attention: What it says of the heads.
        rope_scaling: What it says of how positions were stretched.
        extra: What else it says, worked out from the header; what is None here is null there.
        attribute_map: What this family calls settings that most call otherwise.
        unsupported_keys: Keys that change the result and have no equal, unless they are 0, false or absent.
        tensor_map: GGUF's names and Hugging Face's, without `.weight` and `.bias` unless they are in both;
            `{}` is
            a layer's number. A `Placing` says how the one lies in the other.
        header_tensors: The tensors that a header has as lists with a number for each layer: its keys, whole,
            with the
            names and shapes of Hugging Face's.
        interleaved: Whether the rows of queries and keys are interleaved, for a rotation of neighbors.
        norms_have_unit_offset: Whether 1 was added to the weights of the norms.
        unit_offset_exceptions: The norms to whose weights it was not.
        exponentiated: The tensors that are stored as minus their exponential.
        variants: What is meant by the same name where a header says so: the first that holds.

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
        """Return how this model is written: this way, unless it is one of those of the same name."""
        return next((dialect.select_variant(model) for holds, dialect in self.variants if holds(model)), self)

    def config(self, model: GgufModel) -> dict[str, object]:
        """Return what `config.json` would say.

        Raises:
            CorruptFile: A key is missing or cannot be right.
            UnsupportedModel: A key asks for something that has no equal.

        """
        for key in map(model.key, self.unsupported_keys):
            if model.metadata.values.get(key):
                raise model.metadata.unsupported(f"its header asks for {key!r}, which is not implemented.")
        read = {setting.hf_key: setting.read(model) for setting in self.fields}
        config: dict[str, object] = {**self.constants, **read, **_common_config(model)}
        config |= {"rope_scaling": self.rope_scaling(model), **self.attention(model)}
        config = {"model_type": self.model_type} | {k: v for k, v in config.items() if v is not None}
        # Some families have one where a config is silent, which another vocabulary may not hold.
        config["pad_token_id"] = token_id(model.metadata, "padding")
        for work_out in self.extra:
            config |= work_out(model)
        return {self.attribute_map.get(key, key): value for key, value in config.items()}

    def tensor_plans(self, model: GgufModel) -> dict[str, TensorPlan]:
        """Return where each tensor is, by Hugging Face's name. One whose name is unknown keeps GGUF's.

        Raises:
            CorruptFile: Two tensors would have one name, one is not all there, or its shape does not fit.

        """
        found = dict(self._header_tensor_plans(model))
        for stored in model.tensors.values():
            if stored.name in TENSORS or model.is_mtp_layer(_layer(stored.name)):
                continue  # the config says what the former say, and no model runs the latter
            added, exponential = self._value_changes(stored.name)
            for name, shape, part in self._targets(stored, model):
                if (before := found.get(name)) is None:
                    found[name] = TensorPlan(shape, (part,), added, exponential)
                    continue
                place = found[name] = attrs.evolve(before, chunks=(*before.chunks, part))
                if place.shape != shape or place.numel > prod(shape):
                    raise CorruptFile(str(stored.file.path), f"two of its tensors are {name!r}.")
        for name, place in found.items():
            if place.numel != prod(place.shape):
                raise CorruptFile(model.metadata.path, f"parts of the tensor {name!r} are not in it.")
        return found

    def _header_tensor_plans(self, model: GgufModel) -> Iterator[tuple[str, TensorPlan]]:
        """Yield the places of what is no tensor in the file but a list in its header."""
        for key, (name, shape) in self.header_tensors.items():
            array = model.metadata.array(key, of_text=False)
            if array is None or array.kind != FLOAT32 or len(array) != model.num_layers:
                raise model.metadata.invalid(key, f"a list of {model.num_layers} numbers in float32")
            for layer in range(len(array)):
                one = GgufTensor(array.file, key, (1,), QUANT_TYPES[0], array.start + 4 * layer)
                yield (
                    name.replace("{}", str(layer)),
                    TensorPlan(shape, (TensorChunk(one, StridedView.full(shape)),)),
                )

    def _value_changes(self, name: str) -> tuple[float, bool]:
        """Return what was added to the numbers of a tensor, and whether they were made exponentials."""
        norm = name.endswith("norm.weight") and _role(name) not in self.unit_offset_exceptions
        return float(self.norms_have_unit_offset and norm), name.rpartition(".")[2] in self.exponentiated

    def _targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:
        """Yield what a tensor fills.

        Raises:
            CorruptFile: Its shape does not fit.

        """
        if self.interleaved and (role := _role(stored.name)) in ("attn_q", "attn_k"):
            heads = model.num_heads if role == "attn_q" else model.num_kv_heads
            view = _interleaved_halves(stored, heads)
        else:
            view = None
        placing, kind = self._layout_of(stored.name)
        layer = _layer(stored.name)
        try:
            fills = [*placing.targets(stored, model)]
        except ValueError as error:
            reason = f"its tensor {stored.name!r} of shape {list(stored.shape)} does not fit its header."
            raise CorruptFile(str(stored.file.path), reason) from error
        for name, shape, part in fills:
            numbered = name if layer is None else name.replace("{}", layer, 1)
            yield f"{numbered}{kind}", shape, part if view is None else TensorChunk(stored, view)

    def _layout_of(self, name: str) -> tuple[TensorLayout, str]:
        """Return how a tensor lies in Hugging Face's, and how their names end."""
        in_layer = _IN_LAYER.fullmatch(name)
        generic = name if in_layer is None else f"blk.{{}}.{in_layer[2]}"
        base, _, kind = generic.rpartition(".")
        for key, end in ((generic, ""), (base, f".{kind}")):
            if (found := self.tensor_map.get(key)) is not None:
                return (Identity(found) if isinstance(found, str) else found), end
        return Identity(name), ""


def _layer(name: str) -> str | None:
    in_layer = _IN_LAYER.fullmatch(name)
    return None if in_layer is None else in_layer[1]


def _role(name: str) -> str:
    """Return `attn_q` of `blk.3.attn_q.weight`."""
    return name.rpartition(".")[0].rpartition(".")[2]


def _interleaved_halves(stored: GgufTensor, heads: int) -> StridedView:
    """Return the rows of each head in the order in which GGUF pairs those of its two halves."""
    if stored.shape[0] % (2 * heads):
        reason = f"the {stored.shape[0]} rows of its tensor {stored.name!r} do not make {heads} heads."
        raise CorruptFile(str(stored.file.path), reason)
    return StridedView.full(stored.shape).split(0, heads, 2, stored.shape[0] // (2 * heads)).swap(1, 2)


def _common_config(model: GgufModel) -> Config:
    """Return what is worked out alike for every architecture."""
    metadata, tensors = model.metadata, model.tensors
    # A network is built layer by layer before its tensors are compared: an absurd number must end here.
    if (model.integer("block_count") or 0) > len(tensors):
        raise metadata.invalid(model.key("block_count"), f"at most {len(tensors)}, the number of its tensors")
    if metadata.flag(model.key("attention.causal")) is False:
        raise metadata.unsupported("its tokens see those behind them, which is not implemented.")
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
