"""Tests of streamed Markdown: independent of the chunking, and without loss of text."""

import re
from itertools import groupby

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from litgpt.cli.repl.markdown import MAX_PENDING, MarkdownStream

NAMES = {"1": "b", "2": "dim", "3": "i", "4": "u", "36": "code"}
PIECES = [
    "*",
    "**",
    "_",
    "`",
    "```",
    "#",
    "-",
    "1.",
    ">",
    "\\",
    " ",
    "\n",
    "a",
    "word ",
    "é",
    "3*4",
    "x" * 150,
]


def rendered(*pieces: str) -> str:
    """Return the output with tags for terminal codes; adjacent runs of one style are merged."""
    stream = MarkdownStream(styled=True)
    output = "".join([*map(stream.feed, pieces), stream.finish()])
    parts = re.findall(r"\x1b\[([\d;]+)m(.*?)\x1b\[0m|([^\x1b])", output, re.DOTALL)
    characters = [
        ("+".join(sorted({NAMES[code] for code in codes.split(";")})) if codes else "", value)
        for codes, styled, plain in parts
        for value in styled or plain
    ]
    runs = [
        (tag, "".join(value for _, value in run))
        for tag, run in groupby(characters, key=lambda pair: pair[0])
    ]
    return "".join(f"<{tag}>{text}</>" if tag else text for tag, text in runs)


@pytest.mark.parametrize(
    ("markdown", "output"),
    [
        ("plain, 2 * 3 and 2*3*4", "plain, 2 * 3 and 2*3*4"),
        ("a **bold** and *italic* word", "a <b>bold</> and <i>italic</> word"),
        ("_italic_ ***both***", "<i>italic</> <b+i>both</>"),
        ("**bold *both***, un**bold**ed", "<b>bold </><b+i>both</>, un<b>bold</>ed"),
        ("*a **b** c*", "<i>a </><b+i>b</><i> c</>"),
        ("call `f(*args, **kw)` now", "call <code>f(*args, **kw)</> now"),
        ("`` a`b ``", "<code>a`b</>"),
        ("**with `code`**", "<b>with </><b+code>code</>"),
        ("snake_case_name and __init__.py", "snake_case_name and __init__.py"),
        ("not **closed\nnext", "not **closed\nnext"),
        (r"\*literal\* \alpha C:\dir", r"*literal* \alpha C:\dir"),
        ("# Title\n## Part *x*\ntext", "<b+u>Title</>\n<b>Part </><b+i>x</>\ntext"),
        ("#hashtag", "#hashtag"),
        ("- one\n  * **two**\n+ three\n1. four", "• one\n  • <b>two</>\n• three\n1. four"),
        ("> said", "<dim>│ </>said"),
        ("---\n", "<dim>---</>\n"),
        (
            "```python\ndef f(*a):\n    # **x**\n```\nend",
            "<dim>```python</>\n<code>def f(*a):</>\n<code>    # **x**</>\n<dim>```</>\nend",
        ),
        ("~~~\n```\n~~~\n*x*", "<dim>~~~</>\n<code>```</>\n<dim>~~~</>\n<i>x</>"),
        ("```x = 1``` and", "<code>x = 1</> and"),
        ("```\nnever closed", "<dim>```</>\n<code>never closed</>"),
        ("| a | b |\n[text](https://x.y/a_b_c)", "| a | b |\n[text](https://x.y/a_b_c)"),
        (f"**{'x' * MAX_PENDING}**", f"**{'x' * MAX_PENDING}**"),
    ],
)
def test_markdown_is_shown_in_styles(markdown: str, output: str) -> None:
    assert rendered(markdown) == output
    assert rendered(*markdown) == output  # character by character


@example(["#", " ", " ", "x"])
@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_pieces_make_no_difference_and_no_text_is_lost(pieces: list[str]) -> None:
    whole = "".join(pieces)
    assert rendered(*pieces) == rendered(whole)
    output = re.sub(r"</?[\w+]*>", "", rendered(*pieces))
    assert re.findall(r"[\w\n]", output.replace("_", "")) == re.findall(r"[\w\n]", whole.replace("_", ""))


def test_text_without_marks_is_shown_at_once_and_marks_are_held_back_only_so_long() -> None:
    stream = MarkdownStream(styled=True)
    assert [stream.feed(piece) for piece in ("Hel", "lo ", "**wor", "ld", "** and")] == [
        "Hel",
        "lo ",
        "",
        "",
        "\x1b[1mworld\x1b[0m and",
    ]
    assert stream.feed(" **") == " "
    assert stream.feed("x" * MAX_PENDING).startswith("**x")
    assert stream.feed("\n```py\n") == "\n\x1b[2m```py\x1b[0m\n"
    assert stream.feed("print") == "\x1b[36mprint\x1b[0m"


def test_without_styles_the_text_is_as_the_model_wrote_it() -> None:
    stream = MarkdownStream(styled=False)
    assert stream.feed("# **a") == "# **a"
    assert stream.finish() == ""
