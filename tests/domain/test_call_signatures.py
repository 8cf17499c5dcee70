import inspect
from typing import Any, TypedDict, Unpack

import pytest

from litgpt.domain.validation.call_signatures import (
    InvalidCall,
    SharedOptions,
    describe_typed_dict,
    public_function,
)


class Some(TypedDict, total=False):
    """Some options.

    Attributes:
        seed: A number. Its description
            has two lines.
        stop: A string.
    """

    seed: int | None
    stop: str


class More(Some, total=False):
    """More of them.

    Attributes:
        width: In pixels.
    """

    width: int


SHARED = SharedOptions({"seed": None, "stop": "", "width": 80}, describe_typed_dict(Some, More))


class Painter:
    @public_function(SHARED)
    def paint(self, what: str, *, twice: bool = False, **options: Unpack[More]) -> str:
        """Paint something.

        Args:
            what: The thing.
            twice: Whether to do it again.

        Raises:
            ValueError: It cannot be painted.
        """
        if what == "nothing":
            raise TypeError("there is nothing to paint")
        return f"{what} {twice} {sorted(options.items())}"

    @classmethod
    @public_function()
    def hired(cls, name: str) -> str:
        """Return a name."""
        return name


def test_a_signature_shows_every_option_with_its_type_and_default() -> None:
    output = inspect.signature(Painter.paint)
    options = "seed: int | None = None, stop: str = '', width: int = 80"
    assert str(output) == f"(self, what: str, *, twice: bool = False, {options}) -> str"


def test_the_documentation_has_every_option_between_the_functions_own_arguments_and_its_errors() -> None:
    doc = inspect.getdoc(Painter.paint) or ""
    own = ["Args:", "    what: The thing.", "    twice: Whether to do it again."]
    shared = ["    seed: A number. Its description", "        has two lines.", "    stop: A string."]
    assert doc.splitlines()[2:9] == [*own, *shared, "    width: In pixels."]
    assert doc.splitlines()[9:] == ["", "Raises:", "    ValueError: It cannot be painted."]


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((), {}, r"Painter\.paint\(\) needs the argument 'what'\.$"),
        (
            ("a", "b"),
            {},
            r"takes at most 1 \(what\) of its arguments by position, not 2\. Pass others by name: ",
        ),
        (("a",), {"widht": 3}, r"Painter\.paint\(\) has no argument 'widht'\. Did you mean 'width'\?$"),
        (("a",), {"xyz": 3}, r"has no argument 'xyz'\. It takes what, twice, seed, stop, width\.$"),
        (("a",), {"what": "b"}, r"has the argument 'what' twice"),
    ],
)
def test_an_invalid_call_is_an_error_with_the_expected_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidCall, match=says) as caught:
        Painter().paint(*args, **kwargs)
    assert isinstance(caught.value, TypeError)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_errors_of_the_function_itself_stay_what_they_are() -> None:
    with pytest.raises(TypeError, match="nothing to paint") as caught:
        Painter().paint("nothing")
    assert not isinstance(caught.value, InvalidCall)


def test_valid_arguments_are_passed_on_without_unset_options() -> None:
    assert Painter().paint("sky", twice=True, width=3) == "sky True [('width', 3)]"
    assert Painter.hired("Ada") == "Ada"


def test_functions_and_class_methods_are_named_as_they_are_called() -> None:
    unknown: Any = {"nam": "Ada"}
    with pytest.raises(InvalidCall, match=r"^Painter\.hired\(\) has no argument 'nam'"):
        Painter.hired(**unknown)

    @public_function(instead="Call another one.")
    def draw(*, what: str, where: str) -> None:
        """Draw."""

    with pytest.raises(InvalidCall, match=r"draw\(\) needs what=…, where=…, by name\. Call another one\.$"):
        draw()  # type: ignore[call-arg]
