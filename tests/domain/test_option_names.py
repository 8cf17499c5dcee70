import pytest

from litgpt.domain.validation.option_names import suggest_name

NAMES = ("temperature", "max_new_tokens", "learning_rate", "seed", "stop", "stream", "help")


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        ("temp", "temperature"),
        ("do_sample", "temperature"),
        ("max_length", "max_new_tokens"),
        ("lr", "learning_rate"),
        ("temprature", "temperature"),
        ("xyz", None),
        ("system_prompt", None),  # known elsewhere, but these names do not have its counterpart
    ],
)
def test_names_of_other_programs_and_misspelled_names_have_a_suggestion(unknown: str, expected: str) -> None:
    assert suggest_name(unknown, NAMES) == expected


def test_a_lora_option_is_found_with_and_without_its_prefix() -> None:
    assert suggest_name("r", ("rank", "alpha")) == "rank"
    assert suggest_name("r", ("lora_rank", "lora_alpha")) == "lora_rank"
