"""Tests of the public names: classes are importable from `litgpt`, and earlier names still work."""

import inspect

import pytest

import litgpt
import litgpt.training


@pytest.mark.parametrize("name", litgpt.__all__)
def test_a_public_name_is_a_class_with_a_docstring(name: str) -> None:
    public = getattr(litgpt, name)
    assert inspect.isclass(public)
    assert public.__name__ == name
    assert public.__doc__


@pytest.mark.parametrize(
    ("old", "new"),
    [("Recipe", "TrainConfig"), ("Trained", "TrainResult"), ("recipe_of", "config_from_settings")],
)
def test_an_earlier_name_of_training_is_the_present_one(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"litgpt.training.{old} is called {new} now"):
        assert getattr(litgpt.training, old) is getattr(litgpt.training, new)
