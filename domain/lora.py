"""LoRA: a few numbers beside each weight, which learn in its place.

A weight W (out, in) stays as it is; what is learnt are A (rank, in) and B (out, rank), and the layer
multiplies by W + scaling x B A. Source: Hu et al. 2021, arXiv:2106.09685; the scaling by the root of the
rank: Kalajdzievski 2023, arXiv:2312.03732.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import attrs

from litgpt.domain.errors import BadArgument, BadCheckpoint, WrongType
from litgpt.domain.messages import brief_repr
from litgpt.domain.validators import integer_field, is_flag, is_integer, one_of, real_field

TensorT = TypeVar("TensorT")

Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]

Targets: TypeAlias = tuple[str, ...] | Literal["all-linear"] | None
Biases: TypeAlias = Literal["none", "all", "lora_only"]
TokenIndices: TypeAlias = tuple[tuple[str | None, tuple[int, ...]], ...]
"""Token ids by module; the module None is the input embedding."""

ALL: Literal["all-linear"] = "all-linear"
"""Every linear layer but the head, as PEFT has it."""

_TOKENS = "token ids, such as [5, 7], or a mapping of modules to token ids, such as {'lm_head': [5]}"
_NAMES = "names of linear layers such as ('q_proj', 'v_proj'), 'all-linear' or None"
_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def _as_targets(value: object) -> object:
    if isinstance(value, str) and value != ALL:
        return (value,)
    return tuple(value) if isinstance(value, (list, set, frozenset)) else value


def _are_targets(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if value is None or value == ALL:
        return
    if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
        raise WrongType(field.name, value, _NAMES)
    if not value or not all(value):
        raise BadArgument(field.name, value, _NAMES)


def _as_names(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, (list, set, frozenset)) else value


def _are_names(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(one, str) and one for one in value):
        raise WrongType(field.name, value, "names of modules such as ('embed_tokens', 'lm_head')")


def _as_token_indices(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple((name, _as_names(ids)) for name, ids in value.items())
    if isinstance(value, (list, tuple)) and all(isinstance(one, int) for one in value):
        return ((None, tuple(value)),) if value else ()
    return () if value is None else value


def _are_token_indices(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, tuple):
        raise WrongType(field.name, value, _TOKENS)
    for entry in value:
        if not (isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], tuple)):
            raise WrongType(field.name, value, _TOKENS)
        if not all(map(is_integer, entry[1])):
            raise WrongType(field.name, value, _TOKENS)
        if not entry[1] or min(entry[1]) < 0 or len(set(entry[1])) != len(entry[1]):
            raise BadArgument(field.name, value, f"{_TOKENS}; each id once, none of them negative")


@attrs.frozen(kw_only=True)
class Lora:
    """What is added to which layers.

    Attributes:
        rank: The rows of A and the columns of B.
        alpha: What is added counts alpha / rank.
        dropout: How many of the inputs of A are left out while it is trained, from 0 to 1.
        targets: The linear layers, by the names that they have in transformers or by ends of these:
            `q_proj`, `self_attn.q_proj`, `layers.3.mlp.down_proj`; or `all-linear`: all but the head. None:
            those that make queries and values.
        rslora: Whether what is added counts alpha / root of rank, for large ranks.
        use_dora: Whether the norm of each weight's rows is learned apart from their direction (DoRA: Liu et
            al. 2024, arXiv:2402.09353).
        lora_bias: Whether B has a bias.
        bias: Which of the model's own biases are trained: all, or those of the targets.
        modules_to_save: Modules that are trained whole, by their names in transformers or ends of these.
        target_parameters: Parameters of experts and routers that LoRA is for, such as
            `mlp.experts.down_proj`.
        trainable_token_indices: Tokens whose embeddings are trained, by module.
        ensure_weight_tying: Whether what is trained of the embedding is trained of a head that shares its
            weight, too.

    """

    rank: int = integer_field(8, 1)
    alpha: float = real_field(16.0)
    dropout: float = real_field(0.0, below=1)
    targets: Targets = attrs.field(default=None, converter=_as_targets, validator=_are_targets)
    rslora: bool = attrs.field(default=False, validator=is_flag)
    use_dora: bool = attrs.field(default=False, validator=is_flag)
    lora_bias: bool = attrs.field(default=False, validator=is_flag)
    bias: Biases = attrs.field(default="none", validator=one_of("none", "all", "lora_only"))
    modules_to_save: tuple[str, ...] = attrs.field(default=(), converter=_as_names, validator=_are_names)
    target_parameters: tuple[str, ...] = attrs.field(default=(), converter=_as_names, validator=_are_names)
    trainable_token_indices: TokenIndices = attrs.field(
        default=(), converter=_as_token_indices, validator=_are_token_indices
    )
    ensure_weight_tying: bool = attrs.field(default=False, validator=is_flag)

    __repr__ = brief_repr

    def __attrs_post_init__(self) -> None:
        """Check what cannot be together; PEFT refuses the same.

        Raises:
            BadArgument: Two options exclude one another.

        """
        if self.use_dora and self.lora_bias:
            raise BadArgument("lora_bias", self.lora_bias, "False with DoRA, which has no such bias")
        if self.target_parameters and (self.use_dora or self.lora_bias or self.dropout):
            expected = "left out with DoRA, lora_bias or dropout, which parameters of experts do not support"
            raise BadArgument("target_parameters", self.target_parameters, expected)

    def scaling(self, rank: int | None = None, alpha: float | None = None) -> float:
        """Return what B A is multiplied by, for a layer that may have a rank or an alpha of its own."""
        rank, alpha = rank or self.rank, self.alpha if alpha is None else alpha
        return alpha / (math.sqrt(rank) if self.rslora else rank)


@attrs.frozen
class Pair(Generic[TensorT]):
    """What is added to one tensor, in PEFT's orientation.

    X is the number of experts where the tensor has those of all of them, and 1 otherwise.

    Attributes:
        a: (X rank, in).
        b: (out, rank X): PEFT numbers its columns by rank first.
        rank: Its rank.
        alpha: Its alpha.
        bias: (out,), the bias of B; None if B has none.
        magnitude: The norms of the weight's rows, (out,), or of an embedding's columns, that DoRA learns;
            None without DoRA.
        embedding: Whether it is for an embedding, whose weight is changed by the transpose of B A.

    """

    a: TensorT = attrs.field(repr=False)
    b: TensorT = attrs.field(repr=False)
    rank: int
    alpha: float
    bias: TensorT | None = attrs.field(default=None, repr=False)
    magnitude: TensorT | None = attrs.field(default=None, repr=False)
    embedding: bool = False

    __repr__ = brief_repr


@attrs.frozen
class TrainedTokens(Generic[TensorT]):
    """Rows of an embedding or a head that were trained.

    Attributes:
        ids: The tokens.
        rows: (tokens, width), what took the place of their rows.

    """

    ids: tuple[int, ...]
    rows: TensorT = attrs.field(repr=False)

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class Adapter(Generic[TensorT]):
    """What was learnt, as it is saved.

    Attributes:
        lora: How.
        pairs: The pairs, by the names in transformers of modules, such as `model.layers.0.self_attn.q_proj`,
            or of parameters of experts, such as `model.layers.0.mlp.experts.down_proj`.
        whole: Tensors that were trained whole, by their names in transformers.
        tokens: Trained tokens, by the names of embeddings or heads.
        base: The model that it was learnt on, if it says so.
        revision: Which revision of that.
        targets: Names that mean these layers and no others, as short as can be; empty: as it is read.
        transposed: Whether the model writes the weights of these layers on their sides, as GPT-2 does.

    """

    lora: Lora
    pairs: Mapping[str, Pair[TensorT]] = attrs.field(repr=False)
    whole: Mapping[str, TensorT] = attrs.field(repr=False, factory=dict)
    tokens: Mapping[str, TrainedTokens[TensorT]] = attrs.field(repr=False, factory=dict)
    base: str | None = None
    revision: str | None = None
    targets: tuple[str, ...] = ()
    transposed: bool = False

    __repr__ = brief_repr


def adapter_name(name: object) -> str:
    """Return what an adapter is to be called.

    Raises:
        BadArgument: It cannot be called so: its name becomes a part of its tensors'.

    """
    expected = "a name of letters, digits, '-' and '_'"
    if not isinstance(name, str):
        raise WrongType("name", name, expected)
    if not _NAME.fullmatch(name):
        raise BadArgument("name", name, expected)
    return name


def known_adapter(name: str, names: Sequence[str], argument: str = "name") -> None:
    """Check that there is an adapter.

    Raises:
        BadArgument: There is none of this name; the error has those that there are.

    """
    if name not in names:
        there = f"one of the adapters {', '.join(map(repr, names))}" if names else "left alone: there is none"
        raise BadArgument(argument, name, there)


def misfit(name: str, unknown: Sequence[str], misshapen: Sequence[str]) -> BadCheckpoint:
    """Return the error that says all in which an adapter does not fit a model.

    Args:
        name: The adapter.
        unknown: Modules or tensors that the model does not have.
        misshapen: What has another shape, and which was expected.

    """
    lists = (
        ("for modules or tensors that the model does not have", unknown),
        ("of a wrong shape", misshapen),
    )
    said = "; ".join(f"{len(names)} {what}: {', '.join(names)}" for what, names in lists if names)
    return BadCheckpoint(f"The adapter {name} does not fit the model. {said}.")
