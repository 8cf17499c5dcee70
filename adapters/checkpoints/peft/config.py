"""What `adapter_config.json` says, and which of it is not implemented."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import attrs

from litgpt.domain.errors import CorruptFile, InvalidArgument, UnsupportedModel
from litgpt.domain.lora.config import BiasMode, LoraConfig, TokenIndices

ValueT = TypeVar("ValueT")

# Settings that change nothing in what a saved adapter computes: what was drawn before it was trained, what
# was chosen (its tensors say that), who wrote it, how it is loaded.
_IGNORED_KEYS = frozenset(
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
_SUPPORTED_KEYS = frozenset(
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
_PEFT_DEFAULTS = {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0}
# Ways to begin that leave the weights of the model as they are. The others (PiSSA, OLoRA, CorDA, LoftQ, …)
# change them, and PEFT changes them again when it loads such an adapter.
_INIT_METHODS = (True, False, "gaussian", "orthogonal", "eva", "mini_normal")


_MAX_PATTERN = 300
_MAX_REPEATS = 4


@attrs.frozen
class PeftConfig:
    """What is read of the settings.

    Attributes:
        config: How the adapter was made.
        base_model: The model that it is for, if that is said.
        revision: Which revision of that.
        fan_in_fan_out: Whether the layers' weights lie on their sides.
        rank_pattern: Other ranks, by patterns of names.
        alpha_pattern: Other alphas, likewise.

    """

    config: LoraConfig
    base_model: str | None
    revision: str | None
    fan_in_fan_out: bool
    rank_pattern: Mapping[str, int] = attrs.field(factory=dict)
    alpha_pattern: Mapping[str, float] = attrs.field(factory=dict)

    def rank_of(self, module: str) -> int:
        """Return the rank at a layer."""
        return _first_match(self.rank_pattern, module, self.config.rank)

    def alpha_of(self, module: str) -> float:
        """Return the alpha at a layer."""
        return _first_match(self.alpha_pattern, module, self.config.alpha)


def parse_peft_config(values: Mapping[str, object], *, location: str) -> PeftConfig:
    """Return what a parsed `adapter_config.json` says.

    Raises:
        DamagedFile: It says what cannot be right.
        UnsupportedModel: It asks for what is not implemented.

    """
    _check_supported(values, location)
    try:
        # Lora checks what they are.
        rank, alpha, dropout = (cast("int", values.get(one, usual)) for one, usual in _PEFT_DEFAULTS.items())
        lora = LoraConfig(
            rank=rank,
            alpha=alpha,
            dropout=dropout,
            rslora=bool(values.get("use_rslora")),
            use_dora=bool(values.get("use_dora")),
            lora_bias=bool(values.get("lora_bias")),
            bias=cast("BiasMode", values.get("bias", "none")),
            modules_to_save=cast("tuple[str, ...]", values.get("modules_to_save") or ()),
            target_parameters=cast("tuple[str, ...]", values.get("target_parameters") or ()),
            trainable_token_indices=cast("TokenIndices", values.get("trainable_token_indices") or ()),
            ensure_weight_tying=bool(values.get("ensure_weight_tying")),
        )
        ranks = {
            name: LoraConfig(rank=one).rank
            for name, one in _pattern(values, "rank_pattern", location).items()
        }
        alphas = {
            name: LoraConfig(alpha=one).alpha
            for name, one in _pattern(values, "alpha_pattern", location).items()
        }
    except InvalidArgument as error:
        raise CorruptFile(location, str(error)) from error
    base, revision = values.get("base_model_name_or_path"), values.get("revision")
    return PeftConfig(
        config=lora,
        base_model=base if isinstance(base, str) and base else None,
        revision=revision if isinstance(revision, str) and revision else None,
        fan_in_fan_out=bool(values.get("fan_in_fan_out")),
        rank_pattern=ranks,
        alpha_pattern=alphas,
    )


def _check_supported(values: Mapping[str, object], location: str) -> None:
    kind = values.get("peft_type")
    if kind != "LORA":
        raise UnsupportedModel(location, f"its peft_type is {kind!r}; only 'LORA' is implemented.")
    beginning = values.get("init_lora_weights", True)
    if beginning not in _INIT_METHODS:
        reason = (
            f"it was begun with init_lora_weights={beginning!r}, which changes the weights of its model. "
            "Save it with PEFT's path_initial_model_for_weight_conversion, which makes it a plain LoRA."
        )
        raise UnsupportedModel(location, reason)
    for name, value in values.items():
        if name not in _IGNORED_KEYS | _SUPPORTED_KEYS and value not in (None, False, {}, [], ""):
            raise UnsupportedModel(location, f"its setting {name}={value!r} is not implemented.")


def _pattern(values: Mapping[str, object], name: str, location: str) -> dict[str, Any]:
    value = values.get(name) or {}
    if not isinstance(value, dict):
        raise CorruptFile(location, f"its {name} is no object of names and numbers.")
    for pattern in value:
        if not _is_pattern(pattern):
            raise CorruptFile(location, f"its {name} has {pattern!r}, which is no pattern of a layer's name.")
    return value


def _is_pattern(pattern: str) -> bool:
    """Whether a pattern is one, and one whose search is short: a file of somebody else's has it."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    is_short = len(pattern) <= _MAX_PATTERN and len(re.findall(r"[*+{]", pattern)) <= _MAX_REPEATS
    return is_short and not re.search(r"\)[*+{]", pattern)


def _first_match(patterns: Mapping[str, ValueT], module: str, default: ValueT) -> ValueT:
    # As PEFT matches them: a pattern of the whole name, or of its end from a dot on.
    matches = (value for one, value in patterns.items() if re.match(rf"(.*\.)?({one})$", module))
    return next(matches, default)
