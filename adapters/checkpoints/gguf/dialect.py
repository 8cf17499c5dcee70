"""From GGUF's dialect to Hugging Face's: the words in which `architectures` describes the change."""

import re
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import TypeAlias

import attrs

from litgpt.adapters.checkpoints.gguf.cursor import FLOAT32
from litgpt.adapters.checkpoints.gguf.formats import FORMATS
from litgpt.adapters.checkpoints.gguf.header import StoredTensor
from litgpt.adapters.checkpoints.gguf.placing import Fill, Placing, Same
from litgpt.adapters.checkpoints.gguf.reading import Part, Place
from litgpt.adapters.checkpoints.gguf.rope import TENSORS, rope_scaling
from litgpt.adapters.checkpoints.gguf.source import Source
from litgpt.adapters.checkpoints.gguf.views import View
from litgpt.adapters.checkpoints.gguf.vocabulary import token_id
from litgpt.domain.errors import DamagedFile

Config: TypeAlias = Mapping[str, object]

_IN_LAYER = re.compile(r"blk\.([0-9]{1,6})\.(.+)")


@attrs.frozen
class Setting:
    """A key of a GGUF header and the key of `config.json` that says the same.

    Attributes:
        theirs: GGUF's key, behind the architecture's name.
        ours: The key in `config.json`.
        whole: Whether it is a whole number.
        required: Whether it has to be there.
        default: What its absence means; None leaves it out of the config.

    """

    theirs: str
    ours: str
    whole: bool = True
    required: bool = False
    default: float | None = None

    def read(self, source: Source) -> float | None:
        """Return the value.

        Raises:
            DamagedFile: It is required and absent, or cannot be right.

        """
        value = source.integer(self.theirs) if self.whole else source.number(self.theirs)
        if value is None and self.required:
            raise source.metadata.missing(source.key(self.theirs))
        return self.default if value is None else value


def softmax_attention(source: Source) -> Config:
    """Return the heads of an attention that keeps keys and values, and which share of each is rotated.

    Raises:
        UnsupportedModel: Keys and values are of different sizes.

    """
    if source.integer("attention.value_length") not in (None, source.head_size):
        raise source.metadata.refuse("its keys and values are of different sizes, which is not implemented.")
    return {
        "num_attention_heads": source.heads,
        "num_key_value_heads": source.groups,
        "head_dim": source.head_size,
        "partial_rotary_factor": source.rotated_share if source.rotated != source.head_size else None,
    }


@attrs.frozen(kw_only=True)
class Dialect:
    """How GGUF writes the models of one architecture.

    Attributes:
        architecture: What GGUF calls it.
        model_type: What Hugging Face calls it.
        settings: Which keys are which.
        constants: What `config.json` says besides, whatever the header says.
        attention: What it says of the heads.
        stretched: What it says of how positions were stretched.
        more: What else it says, worked out from the header; what is None here is null there.
        called: What this family calls settings that most call otherwise.
        refused: Keys that change the result and have no equal, unless they are 0, false or absent.
        names: GGUF's names and Hugging Face's, without `.weight` and `.bias` unless they are in both; `{}` is
            a layer's number. A `Placing` says how the one lies in the other.
        said: The tensors that a header has as lists with a number for each layer: its keys, whole, with the
            names and shapes of Hugging Face's.
        interleaved: Whether the rows of queries and keys are interleaved, for a rotation of neighbours.
        norms_add_one: Whether 1 was added to the weights of the norms.
        counts_from_0: The norms to whose weights it was not.
        exponentials: The tensors that are stored as minus their exponential.
        instead: What is meant by the same name where a header says so: the first that holds.

    """

    architecture: str
    model_type: str
    settings: tuple[Setting, ...] = attrs.field(repr=False)
    constants: Config = attrs.field(factory=dict)
    attention: Callable[[Source], Config] = softmax_attention
    stretched: Callable[[Source], Config | None] = rope_scaling
    more: tuple[Callable[[Source], Config], ...] = ()
    called: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    refused: tuple[str, ...] = ()
    names: Mapping[str, str | Placing] = attrs.field(repr=False)
    said: Mapping[str, tuple[str, tuple[int, ...]]] = attrs.field(factory=dict, repr=False)
    interleaved: bool = False
    norms_add_one: bool = False
    counts_from_0: tuple[str, ...] = ()
    exponentials: tuple[str, ...] = ()
    instead: "tuple[tuple[Callable[[Source], bool], Dialect], ...]" = ()

    def for_(self, source: Source) -> "Dialect":
        """Return how this model is written: this way, unless it is one of those of the same name."""
        return next((dialect.for_(source) for holds, dialect in self.instead if holds(source)), self)

    def config(self, source: Source) -> dict[str, object]:
        """Return what `config.json` would say.

        Raises:
            DamagedFile: A key is missing or cannot be right.
            UnsupportedModel: A key asks for something that has no equal.

        """
        for key in map(source.key, self.refused):
            if source.metadata.values.get(key):
                raise source.metadata.refuse(f"its header asks for {key!r}, which is not implemented.")
        read = {setting.ours: setting.read(source) for setting in self.settings}
        config: dict[str, object] = {**self.constants, **read, **_common(source)}
        config |= {"rope_scaling": self.stretched(source), **self.attention(source)}
        config = {"model_type": self.model_type} | {k: v for k, v in config.items() if v is not None}
        # Some families have one where a config is silent, which another vocabulary may not hold.
        config["pad_token_id"] = token_id(source.metadata, "padding")
        for work_out in self.more:
            config |= work_out(source)
        return {self.called.get(key, key): value for key, value in config.items()}

    def places(self, source: Source) -> dict[str, Place]:
        """Return where each tensor is, by Hugging Face's name. One whose name is unknown keeps GGUF's.

        Raises:
            DamagedFile: Two tensors would have one name, one is not all there, or its shape does not fit.

        """
        found = dict(self._said(source))
        for stored in source.tensors.values():
            if stored.name in TENSORS or source.is_beyond(_layer(stored.name)):
                continue  # the config says what the former say, and no model runs the latter
            added, exponential = self._changed(stored.name)
            for name, shape, part in self._fills(stored, source):
                if (before := found.get(name)) is None:
                    found[name] = Place(shape, (part,), added, exponential)
                    continue
                place = found[name] = attrs.evolve(before, parts=(*before.parts, part))
                if place.shape != shape or place.numel > prod(shape):
                    raise DamagedFile(str(stored.file.path), f"two of its tensors are {name!r}.")
        for name, place in found.items():
            if place.numel != prod(place.shape):
                raise DamagedFile(source.metadata.path, f"parts of the tensor {name!r} are not in it.")
        return found

    def _said(self, source: Source) -> Iterator[tuple[str, Place]]:
        """Yield the places of what is no tensor in the file but a list in its header."""
        for key, (name, shape) in self.said.items():
            array = source.metadata.array(key, of_text=False)
            if array is None or array.kind != FLOAT32 or len(array) != source.layers:
                raise source.metadata.wrong(key, f"a list of {source.layers} numbers in float32")
            for layer in range(len(array)):
                one = StoredTensor(array.file, key, (1,), FORMATS[0], array.start + 4 * layer)
                yield name.replace("{}", str(layer)), Place(shape, (Part(one, View.of(shape)),))

    def _changed(self, name: str) -> tuple[float, bool]:
        """Return what was added to the numbers of a tensor, and whether they were made exponentials."""
        norm = name.endswith("norm.weight") and _role(name) not in self.counts_from_0
        return float(self.norms_add_one and norm), name.rpartition(".")[2] in self.exponentials

    def _fills(self, stored: StoredTensor, source: Source) -> Iterator[Fill]:
        """Yield what a tensor fills.

        Raises:
            DamagedFile: Its shape does not fit.

        """
        if self.interleaved and (role := _role(stored.name)) in ("attn_q", "attn_k"):
            heads = source.heads if role == "attn_q" else source.groups
            view = _halves(stored, heads)
        else:
            view = None
        placing, kind = self._placing(stored.name)
        layer = _layer(stored.name)
        try:
            fills = [*placing.fills(stored, source)]
        except ValueError as error:
            reason = f"its tensor {stored.name!r} of shape {list(stored.shape)} does not fit its header."
            raise DamagedFile(str(stored.file.path), reason) from error
        for name, shape, part in fills:
            numbered = name if layer is None else name.replace("{}", layer, 1)
            yield f"{numbered}{kind}", shape, part if view is None else Part(stored, view)

    def _placing(self, name: str) -> tuple[Placing, str]:
        """Return how a tensor lies in Hugging Face's, and how their names end."""
        in_layer = _IN_LAYER.fullmatch(name)
        generic = name if in_layer is None else f"blk.{{}}.{in_layer[2]}"
        base, _, kind = generic.rpartition(".")
        for key, end in ((generic, ""), (base, f".{kind}")):
            if (found := self.names.get(key)) is not None:
                return (Same(found) if isinstance(found, str) else found), end
        return Same(name), ""


def _layer(name: str) -> str | None:
    in_layer = _IN_LAYER.fullmatch(name)
    return None if in_layer is None else in_layer[1]


def _role(name: str) -> str:
    """Return `attn_q` of `blk.3.attn_q.weight`."""
    return name.rpartition(".")[0].rpartition(".")[2]


def _halves(stored: StoredTensor, heads: int) -> View:
    """Return the rows of each head in the order in which GGUF pairs those of its two halves."""
    if stored.shape[0] % (2 * heads):
        reason = f"the {stored.shape[0]} rows of its tensor {stored.name!r} do not make {heads} heads."
        raise DamagedFile(str(stored.file.path), reason)
    return View.of(stored.shape).split(0, heads, 2, stored.shape[0] // (2 * heads)).swap(1, 2)


def _common(source: Source) -> Config:
    """Return what is worked out alike for every architecture."""
    metadata, tensors = source.metadata, source.tensors
    # A network is built layer by layer before its tensors are compared: an absurd number must end here.
    if (source.integer("block_count") or 0) > len(tensors):
        raise metadata.wrong(source.key("block_count"), f"at most {len(tensors)}, the number of its tensors")
    if metadata.flag(source.key("attention.causal")) is False:
        raise metadata.refuse("its tokens see those behind them, which is not implemented.")
    embedding, tokens = (
        tensors.get("token_embd.weight"),
        metadata.array("tokenizer.ggml.tokens", of_text=True),
    )
    return {
        "num_hidden_layers": source.layers,
        "vocab_size": embedding.shape[0] if embedding else tokens and len(tokens),
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": token_id(metadata, "bos"),
        "eos_token_id": token_id(metadata, "eos"),
    }
