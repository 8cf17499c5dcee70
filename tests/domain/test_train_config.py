"""Tests of `TrainConfig`: allowed settings, defaults, and error messages."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from litgpt.domain.errors import InvalidArgument, MissingArgument, WrongType
from litgpt.domain.lora.config import LoraConfig
from litgpt.domain.training.config import CONFIG_FIELDS, PRECISIONS, TrainConfig, config_from_settings
from litgpt.domain.training.errors import UnknownSetting

NEEDED: dict[str, Any] = {"model": "some/model", "data": "some.jsonl", "out_dir": "out"}


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(**(NEEDED | settings))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"task": "evaluate"}, "one of 'finetune', 'pretrain'"),
        ({"method": "adapter"}, "one of 'full', 'lora', 'qlora'"),
        ({"init": "zero"}, "one of 'pretrained', 'random'"),
        ({"method": "qlora", "quantize": "nf4-dq"}, "not 'nf4-dq'. Did you mean bnb.nf4-dq?"),
        ({"precision": "8-true"}, "'bf16-mixed'"),
        ({"strategy": "deepspeed"}, "one of 'auto', 'ddp', 'fsdp'"),
        ({"accelerator": "tpu"}, "one of 'cpu', 'gpu', 'cuda', 'mps', 'auto'"),
        ({"epochs": 0}, "a positive integer or None"),
        ({"max_steps": -1}, "a positive integer or None"),
        ({"batch_size": 0}, "a positive integer"),
        ({"accumulate": 0}, "a positive integer"),
        ({"learning_rate": -1e-5}, "a finite number of at least 0 or None"),
        ({"learning_rate": float("nan")}, "a finite number of at least 0 or None"),
        ({"learning_rate": float("inf")}, "a finite number of at least 0 or None"),
        ({"min_learning_rate": -1.0}, "a finite number of at least 0"),
        ({"warmup_steps": -1}, "a non-negative integer or None"),
        ({"weight_decay": -0.1}, "a finite number of at least 0"),
        ({"max_norm": -1}, "a finite number of at least 0 or None"),
        ({"max_seq_length": 1}, "an integer of at least 2 or None"),
        ({"val_split": 1.0}, "a number from 0 to below 1 or None"),
        ({"eval_every": 0}, "a positive integer or None"),
        ({"save_every": 0}, "a positive integer or None"),
        ({"lora_rank": 0}, "a positive integer"),
        ({"lora_alpha": -1.0}, "a finite number of at least 0"),
        ({"lora_dropout": 1.0}, "a number from 0 to below 1"),
        ({"lora_targets": ()}, "None"),
        ({"seed": -1}, "a non-negative integer"),
        ({"devices": 0}, "a positive integer"),
        ({"nodes": 0}, "a positive integer"),
    ],
)
def test_an_invalid_value_is_named_with_the_valid_ones(wrong: dict[str, Any], right: str) -> None:
    *_, name = wrong
    with pytest.raises(InvalidArgument) as raised:
        config(**wrong)
    assert str(raised.value).startswith(f"{name} must be ")
    assert right in str(raised.value)
    assert not isinstance(raised.value, WrongType)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": 3},
        {"data": b"x"},
        {"out_dir": 4},
        {"tokenizer_dir": 1},
        {"prompt_style": 2},
        {"epochs": 1.5},
        {"batch_size": True},
        {"batch_size": "4"},
        {"seed": None},
        {"learning_rate": "2e-4"},
        {"val_split": True},
        {"lora_dropout": None},
        {"gradient_checkpointing": 1},
        {"mask_prompt": "yes"},
        {"tensorboard": None},
        {"lora_targets": 3},
    ],
)
def test_a_value_of_another_kind_is_named_with_the_kind_that_is_right(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(WrongType, match=f"^{name} must be "):
        config(**wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"method": "lora", "init": "random"}, "method must be 'full' with init='random'"),
        ({"method": "qlora", "init": "random"}, "method must be 'full' with init='random'"),
        ({"method": "lora", "quantize": "int8"}, "quantize must be None with method='lora'"),
        ({"quantize": "bnb.nf4"}, "quantize must be None with method='lora'"),
        ({"method": "full", "quantize": "bnb.nf4"}, "quantize must be None with method='full'"),
        ({"method": "qlora", "strategy": "fsdp"}, "strategy must be 'ddp' with method='qlora'"),
        ({"devices": 2}, "strategy must be 'ddp' or 'fsdp' with devices=2"),
        ({"devices": 2, "nodes": 3}, "strategy must be 'ddp' or 'fsdp' with devices=2 and nodes=3"),
    ],
)
def test_contradictory_settings_are_an_error(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        config(**wrong)


@pytest.mark.parametrize(
    ("misspelt", "expected"), [("batch_sise", "batch_size"), ("lr_rank", "lora_rank"), ("epoch", "epochs")]
)
def test_a_setting_that_is_not_known_is_an_error_that_names_the_nearest(misspelt: str, expected: str) -> None:
    with pytest.raises(UnknownSetting) as raised:
        config_from_settings(NEEDED | {misspelt: 3}, "bad.yaml")
    assert str(raised.value) == f"Unknown setting '{misspelt}' in bad.yaml. Did you mean '{expected}'?"
    with pytest.raises(UnknownSetting) as raised:
        config_from_settings(NEEDED | {"zzz": 3})
    assert str(raised.value).startswith("Unknown setting 'zzz'. Settings: model, data, ")


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_required_setting_is_an_error_with_the_remedy(name: str) -> None:
    without = {key: value for key, value in NEEDED.items() if key != name}
    for settings in (without, without | {name: None}):
        with pytest.raises(MissingArgument, match=f"^Missing {name}: pass a .*[.]$"):
            config_from_settings(settings)
    with pytest.raises(MissingArgument, match=f"^Missing {name}: pass a .*[.]$"):
        TrainConfig(**(without | {name: None}))
    for wrong in ("", 3):
        with pytest.raises(WrongType, match=f"^{name} must be a string that is not empty, not "):
            config_from_settings(NEEDED | {name: wrong})


def test_a_config_read_from_its_own_settings_is_the_same() -> None:
    first = config(method="qlora", quantize="int8", lora_targets=["q_proj"], learning_rate=1, val_split=None)
    assert config_from_settings(attrs.asdict(first)) == first
    assert config(data=Path("a") / "b", out_dir=Path("c")) == config(data=str(Path("a") / "b"), out_dir="c")


def test_every_setting_is_documented() -> None:
    assert all(field.metadata["help"] for field in CONFIG_FIELDS.values())
    assert {config(precision=precision).precision for precision in PRECISIONS} == set(PRECISIONS)


def test_default_learning_rates_are_higher_for_adapters_and_random_weights() -> None:
    assert config(method="full").peak_learning_rate == 2e-5
    assert config(method="lora").peak_learning_rate == config(method="qlora").peak_learning_rate == 2e-4
    assert config(init="random").peak_learning_rate == 4e-4
    assert config(method="lora", learning_rate=0).peak_learning_rate == 0


def test_qlora_quantizes_and_nothing_else_does() -> None:
    assert config().quantization is config(method="lora").quantization is None
    assert config(method="qlora").quantization == "bnb.nf4"
    assert config(method="qlora", quantize="int8").quantization == "int8"
    assert [config(method=name).uses_lora for name in ("full", "lora", "qlora")] == [False, True, True]
    assert config(
        lora_rank=2, lora_alpha=3, lora_dropout=0.5, lora_targets="all-linear"
    ).lora_config == LoraConfig(rank=2, alpha=3, dropout=0.5, targets="all-linear")


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 10),
        ({"epochs": 3}, 30),
        ({"accumulate": 4}, 3),  # the last step of an epoch has the remaining batches
        ({"accumulate": 4, "epochs": 2}, 6),
        ({"max_steps": 4}, 4),
        ({"max_steps": 40}, 40),
        ({"max_steps": 40, "epochs": 2}, 20),
        ({"max_steps": 4, "epochs": 2}, 4),
    ],
)
def test_steps_are_counted_over_epochs_up_to_the_most(settings: dict[str, Any], steps: int) -> None:
    assert config(**settings).num_steps(10) == steps


def test_the_default_warmup_is_three_percent() -> None:
    assert config().lr_schedule(1000).warmup_steps == 30
    assert config().lr_schedule(5).warmup_steps == 1
    assert config(warmup_steps=0).lr_schedule(1000).warmup_steps == 0
    assert config(warmup_steps=70).lr_schedule(50).warmup_steps == 50


def test_the_last_rate_is_a_share_of_the_highest_and_no_more() -> None:
    assert config(learning_rate=1e-3, min_learning_rate=1e-4).lr_schedule(10).min_lr_ratio == pytest.approx(
        0.1
    )
    assert config(learning_rate=1e-3, min_learning_rate=1e-2).lr_schedule(10).min_lr_ratio == 1
    assert config(learning_rate=0).lr_schedule(10).min_lr_ratio == 0


@pytest.mark.parametrize(
    ("settings", "method", "init"),
    [
        ({}, "lora", "pretrained"),
        ({"task": "pretrain"}, "full", "random"),
        ({"task": "pretrain", "init": "pretrained"}, "full", "pretrained"),
        ({"init": "random"}, "full", "random"),
        ({"method": "full"}, "full", "pretrained"),
        ({"method": None, "init": None}, "lora", "pretrained"),
    ],
)
def test_default_method_and_init_follow_from_the_task(
    settings: dict[str, Any], method: str, init: str
) -> None:
    for result in (config(**settings), config_from_settings({**NEEDED, **settings})):
        assert (result.method, result.init) == (method, init)
        assert config_from_settings(attrs.asdict(result)) == result
