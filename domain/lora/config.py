"""LoRA: low-rank adaptation of frozen weights.

A weight W (out, in) is frozen; A (rank, in) and B (out, rank) are trained, and the layer's weight is
W + scaling x B A. Source: Hu et al. 2021, arXiv:2106.09685; rank-stabilized scaling: Kalajdzievski 2023,
arXiv:2312.03732.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import attrs

from litgpt.domain.errors import InvalidArgument, InvalidCheckpoint, WrongType
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.validators import integer_field, is_flag, is_integer, one_of, real_field

TensorT = TypeVar("TensorT")

TargetModules: TypeAlias = tuple[str, ...] | Literal["all-linear"] | None
BiasMode: TypeAlias = Literal["none", "all", "lora_only"]
TokenIndices: TypeAlias = tuple[tuple[str | None, tuple[int, ...]], ...]
"""Token ids by module name; None is the input embedding."""

ALL_LINEAR: Literal["all-linear"] = "all-linear"
"""Every linear layer except the LM head, as in PEFT."""

_TOKENS_EXPECTED = "token ids, such as [5, 7], or a mapping of modules to token ids, such as {'lm_head': [5]}"
_MODULES_EXPECTED = "names of linear layers such as ('q_proj', 'v_proj'), 'all-linear' or None"
_ADAPTER_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def _to_targets(value: object) -> object:
    if isinstance(value, str) and value != ALL_LINEAR:
        return (value,)
    return tuple(value) if isinstance(value, (list, set, frozenset)) else value


def _validate_targets(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if value is None or value == ALL_LINEAR:
        return
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        raise WrongType(field.name, value, _MODULES_EXPECTED)
    if not value or not all(value):
        raise InvalidArgument(field.name, value, _MODULES_EXPECTED)


def _to_names(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, (list, set, frozenset)) else value


def _validate_names(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(name, str) and name for name in value):
        raise WrongType(field.name, value, "names of modules such as ('embed_tokens', 'lm_head')")


def _to_token_indices(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple((name, _to_names(ids)) for name, ids in value.items())
    if isinstance(value, (list, tuple)) and all(isinstance(token, int) for token in value):
        return ((None, tuple(value)),) if value else ()
    return () if value is None else value


def _validate_token_indices(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not isinstance(value, tuple):
        raise WrongType(field.name, value, _TOKENS_EXPECTED)
    for entry in value:
        if not (isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], tuple)):
            raise WrongType(field.name, value, _TOKENS_EXPECTED)
        if not all(map(is_integer, entry[1])):
            raise WrongType(field.name, value, _TOKENS_EXPECTED)
        if not entry[1] or min(entry[1]) < 0 or len(set(entry[1])) != len(entry[1]):
            raise InvalidArgument(field.name, value, f"{_TOKENS_EXPECTED}, non-negative and each id once")


@attrs.frozen(kw_only=True)
class LoraConfig:
    """LoRA configuration; the options correspond to PEFT's `LoraConfig`.

    Attributes:
        rank: LoRA rank r.
        alpha: LoRA scaling: the update is multiplied by alpha / rank.
        dropout: Dropout probability on LoRA inputs.
        targets: Linear layers by their names in transformers or suffixes of them: `q_proj`,
            `self_attn.q_proj`, `layers.3.mlp.down_proj`; or `all-linear`, all except the LM head. None
            selects the query and value projections.
        rslora: Whether the update is multiplied by alpha / sqrt(rank) (rsLoRA), for large ranks.
        use_dora: Whether the norm of each weight row is trained separately from its direction (DoRA: Liu et
            al. 2024, arXiv:2402.09353).
        lora_bias: Whether B has a bias.
        bias: Which of the model's biases are trained: none, all, or only in the targets.
        modules_to_save: Fully trained modules, by their names in transformers or suffixes of them.
        target_parameters: Parameters of experts and routers to adapt, such as `mlp.experts.down_proj`.
        trainable_token_indices: Tokens whose embeddings are trained, by module.
        ensure_weight_tying: Whether training the embedding also applies to a tied LM head.
    """

    rank: int = integer_field(8, 1)
    alpha: float = real_field(16.0)
    dropout: float = real_field(0.0, below=1)
    targets: TargetModules = attrs.field(default=None, converter=_to_targets, validator=_validate_targets)
    rslora: bool = attrs.field(default=False, validator=is_flag)
    use_dora: bool = attrs.field(default=False, validator=is_flag)
    lora_bias: bool = attrs.field(default=False, validator=is_flag)
    bias: BiasMode = attrs.field(default="none", validator=one_of("none", "all", "lora_only"))
    modules_to_save: tuple[str, ...] = attrs.field(default=(), converter=_to_names, validator=_validate_names)
    target_parameters: tuple[str, ...] = attrs.field(
        default=(), converter=_to_names, validator=_validate_names
    )
    trainable_token_indices: TokenIndices = attrs.field(
        default=(), converter=_to_token_indices, validator=_validate_token_indices
    )
    ensure_weight_tying: bool = attrs.field(default=False, validator=is_flag)

    __repr__ = brief_repr

    def __attrs_post_init__(self) -> None:
        # PEFT rejects the same combinations.
        if self.use_dora and self.lora_bias:
            raise InvalidArgument("lora_bias", self.lora_bias, "False with DoRA, which does not support it")
        if self.target_parameters and (self.use_dora or self.lora_bias or self.dropout):
            expected = "left out with DoRA, lora_bias or dropout, which parameters of experts do not support"
            raise InvalidArgument("target_parameters", self.target_parameters, expected)

    def scaling(self, rank: int | None = None, alpha: float | None = None) -> float:
        """Return the factor of B A, for a layer with this rank and alpha."""
        rank, alpha = rank or self.rank, self.alpha if alpha is None else alpha
        return alpha / (math.sqrt(rank) if self.rslora else rank)


@attrs.frozen
class LoraWeights(Generic[TensorT]):
    """The LoRA matrices of one tensor, in PEFT's orientation.

    X is the number of experts of a stacked tensor, and 1 otherwise.

    Attributes:
        lora_A: (X rank, in).
        lora_B: (out, rank X), with the rank as the slower index of the columns.
        bias: (out,), the bias of B, if any.
        magnitude: DoRA's norms of the weight's rows, (out,), or of an embedding's columns; None without DoRA.
        embedding: Whether it adapts an embedding, whose update is the transpose of B A.
    """

    lora_A: TensorT = attrs.field(repr=False)
    lora_B: TensorT = attrs.field(repr=False)
    rank: int
    alpha: float
    bias: TensorT | None = attrs.field(default=None, repr=False)
    magnitude: TensorT | None = attrs.field(default=None, repr=False)
    embedding: bool = False

    __repr__ = brief_repr


@attrs.frozen
class TrainedTokens(Generic[TensorT]):
    """Trained rows (tokens, hidden size) of an embedding or LM head."""

    ids: tuple[int, ...]
    rows: TensorT = attrs.field(repr=False)

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class LoraAdapter(Generic[TensorT]):
    """A trained adapter, as it is saved.

    Attributes:
        weights: LoRA matrices by transformers' names of modules, such as `model.layers.0.self_attn.q_proj`,
            or of expert parameters, such as `model.layers.0.mlp.experts.down_proj`.
        modules_to_save: Fully trained tensors by transformers' names.
        trained_tokens: Trained tokens by the name of the embedding or LM head.
        revision: Revision of the base model.
        targets: Shortest names that match exactly the adapted layers; empty if the adapter was loaded.
        fan_in_fan_out: Whether the model stores these layers' weights transposed, as GPT-2 does.
    """

    config: LoraConfig
    weights: Mapping[str, LoraWeights[TensorT]] = attrs.field(repr=False)
    modules_to_save: Mapping[str, TensorT] = attrs.field(repr=False, factory=dict)
    trained_tokens: Mapping[str, TrainedTokens[TensorT]] = attrs.field(repr=False, factory=dict)
    base_model: str | None = None
    revision: str | None = None
    targets: tuple[str, ...] = ()
    fan_in_fan_out: bool = False

    __repr__ = brief_repr


def validate_adapter_name(name: object) -> str:
    """Return an adapter name, or raise InvalidArgument if tensor names cannot contain it."""
    expected = "a name of letters, digits, '-' and '_'"
    if not isinstance(name, str):
        raise WrongType("name", name, expected)
    if not _ADAPTER_NAME.fullmatch(name):
        raise InvalidArgument("name", name, expected)
    return name


def require_adapter(name: str, names: Sequence[str], argument: str = "name") -> None:
    """Raise InvalidArgument, with the existing names, unless an adapter exists."""
    if name not in names:
        raise unknown_adapter(name, names, argument)


def unknown_adapter(name: str, names: Sequence[str], argument: str) -> InvalidArgument:
    """Return the error for the name of an adapter that does not exist, with the existing names."""
    expected = f"one of {', '.join(map(repr, names))}" if names else "omitted, as the model has no adapters"
    return InvalidArgument(argument, name, expected)


def adapter_mismatch(name: str, unknown: Sequence[str], shape_mismatches: Sequence[str]) -> InvalidCheckpoint:
    """Return the error for an adapter that does not fit the model: unknown names, and shape mismatches."""
    lists = (
        ("for modules or tensors that the model does not have", unknown),
        ("of a wrong shape", shape_mismatches),
    )
    mismatches = "; ".join(f"{len(names)} {problem}: {', '.join(names)}" for problem, names in lists if names)
    return InvalidCheckpoint(f"The adapter {name} does not fit the model. {mismatches}.")
