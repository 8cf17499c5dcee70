"""Parse `adapter_config.json` and reject unsupported settings."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import attrs

from litgpt.domain.errors import CorruptFile, InvalidArgument, UnsupportedModel
from litgpt.domain.lora.config import BiasMode, LoraConfig, TokenIndices

ValueT = TypeVar("ValueT")

# Settings without effect on the output of a saved adapter: initialization, selection of modules (the tensor
# names show it), provenance and loading.
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
# PEFT's defaults.
_PEFT_DEFAULTS = {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0}
# Initializations that leave the base weights unchanged. The others (PiSSA, OLoRA, CorDA, LoftQ, …) modify
# them, and PEFT modifies them again when it loads such an adapter.
_INIT_METHODS = (True, False, "gaussian", "orthogonal", "eva", "mini_normal")


_MAX_PATTERN = 300
_MAX_REPEATS = 4


@attrs.frozen
class PeftConfig:
    """The parsed settings of a PEFT adapter.

    Attributes:
        fan_in_fan_out: Whether the adapted weights are stored as (in, out).
        rank_pattern: Ranks that override `config.rank`, by module name pattern.
        alpha_pattern: Alphas that override `config.alpha`, by module name pattern.
    """

    config: LoraConfig
    base_model: str | None
    revision: str | None
    fan_in_fan_out: bool
    rank_pattern: Mapping[str, int] = attrs.field(factory=dict)
    alpha_pattern: Mapping[str, float] = attrs.field(factory=dict)

    def rank_of(self, module: str) -> int:
        return _first_match(self.rank_pattern, module, self.config.rank)

    def alpha_of(self, module: str) -> float:
        return _first_match(self.alpha_pattern, module, self.config.alpha)


def parse_peft_config(values: Mapping[str, object], *, location: str) -> PeftConfig:
    """Parse the content of an `adapter_config.json`."""
    _check_supported(values, location)
    try:
        # LoraConfig validates the types.
        rank, alpha, dropout = (
            cast("int", values.get(key, default)) for key, default in _PEFT_DEFAULTS.items()
        )
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
            name: LoraConfig(rank=value).rank
            for name, value in _pattern(values, "rank_pattern", location).items()
        }
        alphas = {
            name: LoraConfig(alpha=value).alpha
            for name, value in _pattern(values, "alpha_pattern", location).items()
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
        raise UnsupportedModel(location, f"its peft_type is {kind!r}; only 'LORA' is supported.")
    init_method = values.get("init_lora_weights", True)
    if init_method not in _INIT_METHODS:
        reason = (
            f"it was initialized with init_lora_weights={init_method!r}, which changes the base weights. "
            "Save it with PEFT's path_initial_model_for_weight_conversion to convert it to a plain LoRA."
        )
        raise UnsupportedModel(location, reason)
    for name, value in values.items():
        if name not in _IGNORED_KEYS | _SUPPORTED_KEYS and value not in (None, False, {}, [], ""):
            raise UnsupportedModel(location, f"its setting {name}={value!r} is not supported.")


def _pattern(values: Mapping[str, object], name: str, location: str) -> dict[str, Any]:
    value = values.get(name) or {}
    if not isinstance(value, dict):
        raise CorruptFile(location, f"its {name} is not a mapping of name patterns to numbers.")
    for pattern in value:
        if not _is_pattern(pattern):
            reason = f"its {name} contains {pattern!r}, which is not a valid module name pattern."
            raise CorruptFile(location, reason)
    return value


def _is_pattern(pattern: str) -> bool:
    """Return whether an untrusted regular expression compiles and cannot backtrack for long."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    is_short = len(pattern) <= _MAX_PATTERN and len(re.findall(r"[*+{]", pattern)) <= _MAX_REPEATS
    return is_short and not re.search(r"\)[*+{]", pattern)


def _first_match(patterns: Mapping[str, ValueT], module: str, default: ValueT) -> ValueT:
    # PEFT matches the whole name, or a suffix that starts after a dot.
    matches = (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", module))
    return next(matches, default)
