"""A recipe is right from birth, and what is wrong with it is said with what would have been right."""

import attrs
import pytest

from litgpt.domain.errors import BadArgument, WrongType
from litgpt.domain.training.recipe import SETTINGS, Recipe, recipe_of

NEEDED = {"model": "m", "data": "d.json", "out_dir": "out"}


def recipe(**settings: object) -> Recipe:
    return recipe_of({**NEEDED, **settings})


def test_what_is_needed_is_asked_for_with_its_meaning() -> None:
    for name in NEEDED:
        with pytest.raises(BadArgument, match=f"{name} must be given"):
            recipe_of({one: value for one, value in NEEDED.items() if one != name})


def test_a_misspelt_setting_is_answered_with_those_that_are_close() -> None:
    with pytest.raises(BadArgument, match="did you mean batch_size"):
        recipe(batchsize=4)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("method", "lorra"),
        ("precision", "fp8"),
        ("epochs", 0),
        ("batch_size", 0),
        ("accumulate", -1),
        ("learning_rate", -1e-3),
        ("learning_rate", float("nan")),
        ("max_norm", -1.0),
        ("val_split", 1.0),
        ("lora_rank", 0),
        ("lora_dropout", 1.0),
        ("quantize", "nf4"),
        ("devices", 0),
        ("strategy", "deepspeed"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_by_name(setting: str, value: object) -> None:
    with pytest.raises(BadArgument, match=setting):
        recipe(**{setting: value})


@pytest.mark.parametrize(
    ("setting", "value"),
    [("epochs", "3"), ("epochs", True), ("mask_prompt", 1), ("learning_rate", "2e-4"), ("model", None)],
)
def test_a_value_of_a_wrong_type_is_refused_by_name(setting: str, value: object) -> None:
    with pytest.raises(BadArgument, match=setting):
        recipe(**{setting: value})


def test_a_number_that_yaml_reads_as_text_is_said_to_be_a_text() -> None:
    with pytest.raises(WrongType, match="learning_rate must be a number"):
        recipe(learning_rate="1e-4")


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "lora", "init": "random"},
        {"method": "lora", "quantize": "bnb.nf4"},
        {"method": "qlora", "strategy": "fsdp", "devices": 2},
        {"devices": 2},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(BadArgument):
        recipe(**settings)


def test_the_usual_rate_is_that_of_the_method() -> None:
    rates = [recipe(method="lora").rate, recipe().rate, recipe(init="random").rate]
    assert rates == [2e-4, 2e-5, 4e-4]
    assert recipe(learning_rate=0.5).rate == 0.5


def test_qlora_quantises_and_other_methods_do_not() -> None:
    assert recipe(method="qlora").quantised_as == "bnb.nf4"
    assert recipe(method="qlora", quantize="int4").quantised_as == "int4"
    assert recipe(method="lora").quantised_as is None


def test_the_schedule_ends_at_the_last_rate() -> None:
    share = recipe(learning_rate=0.1, min_learning_rate=0.01).schedule(100)
    assert share(100) == pytest.approx(0.1)
    assert share.warmup == 3


def test_a_recipe_is_made_again_from_its_own_settings() -> None:
    one = recipe(method="lora", lora_targets=("q_proj", "v_proj"), epochs=3, learning_rate=1e-3)
    assert recipe_of(attrs.asdict(one)) == one


def test_every_setting_says_what_it_means() -> None:
    assert all(field.metadata["help"] for field in SETTINGS.values())
