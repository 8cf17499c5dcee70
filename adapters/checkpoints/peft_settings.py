"""What `adapter_config.json` says, and which of it is not implemented."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import attrs

from litgpt.domain.errors import BadArgument, DamagedFile, UnsupportedModel
from litgpt.domain.lora import Biases, Lora, TokenIndices

ValueT = TypeVar("ValueT")

# Settings that change nothing in what a saved adapter computes: what was drawn before it was trained, what
# was chosen (its tensors say that), who wrote it, how it is loaded.
_WITHOUT_EFFECT = frozenset(
    {
        "auto_mapping",
        "corda_config",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_ga_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "runtime_config",
        "target_modules",
        "task_type",
    }
)
_READ = frozenset(
    {
        "alpha_pattern",
        "base_model_name_or_path",
        "bias",
        "fan_in_fan_out",
        "ensure_weight_tying",
        "init_lora_weights",
        "lora_alpha",
        "lora_bias",
        "lora_dropout",
        "modules_to_save",
        "peft_type",
        "r",
        "rank_pattern",
        "revision",
        "target_parameters",
        "trainable_token_indices",
        "use_dora",
        "use_rslora",
    }
)
# The numbers, and what PEFT takes where they are left out.
_NUMBERS = {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0}
# Ways to begin that leave the weights of the model as they are. The others (PiSSA, OLoRA, CorDA, LoftQ, …)
# change them, and PEFT changes them again when it loads such an adapter.
_BEGINNINGS = (True, False, "gaussian", "orthogonal", "eva", "mini_normal")


_LONGEST_PATTERN = 300
_MOST_REPEATS = 4


@attrs.frozen
class PeftSettings:
    """What is read of the settings.

    Attributes:
        lora: How the adapter was made.
        base: The model that it is for, if that is said.
        revision: Which revision of that.
        transposed: Whether the layers' weights lie on their sides.
        ranks: Other ranks, by patterns of names.
        alphas: Other alphas, likewise.

    """

    lora: Lora
    base: str | None
    revision: str | None
    transposed: bool
    ranks: Mapping[str, int] = attrs.field(factory=dict)
    alphas: Mapping[str, float] = attrs.field(factory=dict)

    def rank_of(self, module: str) -> int:
        """Return the rank at a layer."""
        return _first(self.ranks, module, self.lora.rank)

    def alpha_of(self, module: str) -> float:
        """Return the alpha at a layer."""
        return _first(self.alphas, module, self.lora.alpha)


def read_settings(said: Mapping[str, object], *, where: str) -> PeftSettings:
    """Return what a parsed `adapter_config.json` says.

    Raises:
        DamagedFile: It says what cannot be right.
        UnsupportedModel: It asks for what is not implemented.

    """
    _refuse(said, where)
    try:
        # Lora checks what they are.
        rank, alpha, dropout = (cast("int", said.get(one, usual)) for one, usual in _NUMBERS.items())
        lora = Lora(
            rank=rank,
            alpha=alpha,
            dropout=dropout,
            rslora=bool(said.get("use_rslora")),
            use_dora=bool(said.get("use_dora")),
            lora_bias=bool(said.get("lora_bias")),
            bias=cast("Biases", said.get("bias", "none")),
            modules_to_save=cast("tuple[str, ...]", said.get("modules_to_save") or ()),
            target_parameters=cast("tuple[str, ...]", said.get("target_parameters") or ()),
            trainable_token_indices=cast("TokenIndices", said.get("trainable_token_indices") or ()),
            ensure_weight_tying=bool(said.get("ensure_weight_tying")),
        )
        ranks = {name: Lora(rank=one).rank for name, one in _pattern(said, "rank_pattern", where).items()}
        alphas = {name: Lora(alpha=one).alpha for name, one in _pattern(said, "alpha_pattern", where).items()}
    except BadArgument as error:
        raise DamagedFile(where, str(error)) from error
    base, revision = said.get("base_model_name_or_path"), said.get("revision")
    return PeftSettings(
        lora=lora,
        base=base if isinstance(base, str) and base else None,
        revision=revision if isinstance(revision, str) and revision else None,
        transposed=bool(said.get("fan_in_fan_out")),
        ranks=ranks,
        alphas=alphas,
    )


def _refuse(said: Mapping[str, object], where: str) -> None:
    kind = said.get("peft_type")
    if kind != "LORA":
        raise UnsupportedModel(where, f"its peft_type is {kind!r}; only 'LORA' is implemented.")
    beginning = said.get("init_lora_weights", True)
    if beginning not in _BEGINNINGS:
        reason = (
            f"it was begun with init_lora_weights={beginning!r}, which changes the weights of its model. "
            "Save it with PEFT's path_initial_model_for_weight_conversion, which makes it a plain LoRA."
        )
        raise UnsupportedModel(where, reason)
    for name, value in said.items():
        if name not in _WITHOUT_EFFECT | _READ and value not in (None, False, {}, [], ""):
            raise UnsupportedModel(where, f"its setting {name}={value!r} is not implemented.")


def _pattern(said: Mapping[str, object], name: str, where: str) -> dict[str, Any]:
    value = said.get(name) or {}
    if not isinstance(value, dict):
        raise DamagedFile(where, f"its {name} is no object of names and numbers.")
    for pattern in value:
        if not _is_pattern(pattern):
            raise DamagedFile(where, f"its {name} has {pattern!r}, which is no pattern of a layer's name.")
    return value


def _is_pattern(pattern: str) -> bool:
    """Whether a pattern is one, and one whose search is short: a file of somebody else's has it."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    is_short = len(pattern) <= _LONGEST_PATTERN and len(re.findall(r"[*+{]", pattern)) <= _MOST_REPEATS
    return is_short and not re.search(r"\)[*+{]", pattern)


def _first(patterns: Mapping[str, ValueT], module: str, otherwise: ValueT) -> ValueT:
    # As PEFT matches them: a pattern of the whole name, or of its end from a dot on.
    matches = (value for one, value in patterns.items() if re.match(rf"(.*\.)?({one})$", module))
    return next(matches, otherwise)
