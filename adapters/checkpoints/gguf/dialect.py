"""From GGUF's dialect to Hugging Face's: the words in which `architectures` describes the change."""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from litgpt.adapters.checkpoints.gguf.header import StoredTensor
from litgpt.adapters.checkpoints.gguf.reading import Place
from litgpt.adapters.checkpoints.gguf.rope import FREQUENCY_FACTORS, rope_scaling
from litgpt.adapters.checkpoints.gguf.source import Source
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


@attrs.frozen(kw_only=True)
class Dialect:
    """How GGUF writes the models of one architecture.

    Attributes:
        architecture: What GGUF calls it.
        model_type: What Hugging Face calls it.
        settings: Which keys are which.
        constants: What `config.json` says besides, whatever the header says.
        more: What else it says, worked out from the header.
        refused: Keys that change the result and have no equal, unless they are 0, false or absent.
        names: GGUF's names and Hugging Face's, without `.weight` and `.bias`; `{}` is a layer's number.
        interleaved: Whether the rows of queries and keys are interleaved, for a rotation of neighbours.
        norms_add_one: Whether 1 was added to the weights of the norms.

    """

    architecture: str
    model_type: str
    settings: tuple[Setting, ...] = attrs.field(repr=False)
    constants: Config = attrs.field(factory=dict)
    more: tuple[Callable[[Source], Config], ...] = ()
    refused: tuple[str, ...] = ()
    names: Mapping[str, str] = attrs.field(repr=False)
    interleaved: bool = False
    norms_add_one: bool = False

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
        config = {"model_type": self.model_type, **self.constants, **read, **_common(source)}
        for work_out in self.more:
            config |= work_out(source)
        return {key: value for key, value in config.items() if value is not None}

    def places(self, source: Source) -> dict[str, Place]:
        """Return where each tensor is, by Hugging Face's name. One whose name is unknown keeps GGUF's.

        Raises:
            DamagedFile: Two tensors would have one name, or heads do not divide a tensor's rows.

        """
        found: dict[str, Place] = {}
        for stored in source.tensors.values():
            if stored.name == FREQUENCY_FACTORS:
                continue  # the config says what it says
            base, _, kind = stored.name.rpartition(".")
            translated = self._translate(base)
            name = stored.name if translated is None else f"{translated}.{kind}"
            if name in found:
                raise DamagedFile(str(stored.file.path), f"two of its tensors are {name!r}.")
            found[name] = self._place(stored, base.rpartition(".")[2], source)
        return found

    def _translate(self, base: str) -> str | None:
        in_layer = _IN_LAYER.fullmatch(base)
        if in_layer is None:
            return self.names.get(base)
        generic = self.names.get(f"blk.{{}}.{in_layer[2]}")
        return None if generic is None else generic.replace("{}", in_layer[1])

    def _place(self, stored: StoredTensor, role: str, source: Source) -> Place:
        added = 1.0 if self.norms_add_one and role.endswith("norm") else 0.0
        if not self.interleaved or role not in ("attn_q", "attn_k"):
            return Place(stored, added=added)
        heads = source.heads if role == "attn_q" else source.groups
        if stored.shape[0] % (2 * heads):
            reason = f"the {stored.shape[0]} rows of its tensor {stored.name!r} do not make {heads} heads."
            raise DamagedFile(str(stored.file.path), reason)
        return Place(stored, heads, added)


def _common(source: Source) -> Config:
    """Return what is worked out alike for every architecture."""
    metadata, tensors = source.metadata, source.tensors
    # A network is built layer by layer before its tensors are compared: an absurd number must end here.
    if (source.integer("block_count") or 0) > len(tensors):
        raise metadata.wrong(source.key("block_count"), f"at most {len(tensors)}, the number of its tensors")
    if source.integer("attention.value_length") not in (None, source.head_size):
        raise metadata.refuse("its keys and values are of different sizes, which is not implemented.")
    embedding, tokens = (
        tensors.get("token_embd.weight"),
        metadata.array("tokenizer.ggml.tokens", of_text=True),
    )
    partly = source.rotated != source.head_size
    return {
        "num_attention_heads": source.heads,
        "num_key_value_heads": source.groups,
        "head_dim": source.head_size,
        "partial_rotary_factor": source.rotated / source.head_size if partly else None,
        "rope_scaling": rope_scaling(source),
        "vocab_size": embedding.shape[0] if embedding else tokens and len(tokens),
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": token_id(metadata, "bos"),
        "eos_token_id": token_id(metadata, "eos"),
    }
