"""Tests of chat template errors: those of the template are distinguished from those of this library."""

from typing import Any

import pytest

from litgpt.adapters.tokenization.chat_template import sandbox
from litgpt.adapters.tokenization.chat_template.chat_template import ChatTemplate
from litgpt.domain.chat.messages import Message
from litgpt.domain.errors import InvalidArgument, UnsupportedPrompt

MESSAGES = [Message("user", "Hi")]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('Only A & B: ' ~ messages[0].role ~ '!') }}", "Only A & B: user!"),
        ("{{ raise_exception('  two\\nlines ') }}", "  two\nlines "),
        ("{{ raise_exception(42) }}", "42"),
        ("{{ raise_exception(messages[0].content) }}", "Hi"),
    ],
)
def test_a_template_refuses_in_its_own_words(template: str, words: str) -> None:
    with pytest.raises(UnsupportedPrompt) as caught:
        ChatTemplate("m", template).render(MESSAGES)
    assert caught.value.reason == words
    assert str(caught.value).endswith(words.replace("\n", " "))  # a message is one line


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("{% for %}", 1),
        ("a\n{{ messages\n", 2),
        ("a\n\n{% if x %}{% endfor %}", 3),
        ("{{ 1 }}\n{{ 'a' | nothing }}", 2),
    ],
)
def test_a_template_that_cannot_be_compiled_is_an_error_with_the_line(template: str, line: int) -> None:
    with pytest.raises(UnsupportedPrompt, match=rf"chat template of m does not support this: line {line}: "):
        ChatTemplate("m", template).render(MESSAGES)


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages + 1 }}",
        "{{ messages[0].nothing.more }}",
        "{{ '{' .format(1) }}",
        "{{ '{a}'.format(1) }}",
        "{{ '%d' % 'a' }}",
        "{{ '%(a)s' % 1 }}",
        "{{ 1 / 0 }}",
        "{{ 'a'.join(1) }}",
        "{{ 'a'.replace(1) }}",
        "{{ 'a'.split(1, 2, 3) }}",
        "{{ nothing | tojson }}",
        "{{ 1 | tojson(indent=[]) }}",
        "{{ range('a') }}",
        "{{ dict(1) }}",
        "{{ strftime_now(1) }}",
        "{{ strftime_now() }}",
        "{{ namespace(1) }}",
        "{{ raise_exception() }}",
        "{{ messages[0](1) }}",
        "{{ messages | join(1, 2, 3, 4) }}",
        "{{ -messages }}",
        "{{ 'a' | indent('b', 'c', 'd', 'e') }}",
        "{{ messages < 1 }}",
        "{{ 1 in 1 }}",
        "{% for a in 1 %}{% endfor %}",
        "{% for a, b in messages %}{{ a }}{% endfor %}{% set c, d = 1 %}",
        "{{ 'a' * 'b' }}",
        "{{ 'a' | round }}",
        "{% macro f(a) %}{{ a() }}{% endmacro %}{{ f(1) }}",
        "{% include 'x' %}",
    ],
)
def test_runtime_errors_of_a_template_are_reported_as_its_own(template: str) -> None:
    with pytest.raises(UnsupportedPrompt, match="chat template of m"):
        ChatTemplate("m", template).render(MESSAGES)


TEMPLATE = "{{ 'a' + messages[0].content }}{{ messages[0].content.strip() }}{{ 'H' in messages[0].content }}"


@pytest.mark.parametrize(
    "inside", ["charge_operator", "charge_method", "charge_deep_size", "searchable", "escape_arguments"]
)
@pytest.mark.parametrize(
    "error", [AttributeError("a bug"), RuntimeError("a bug"), InvalidArgument("tools", 1, "2")]
)
def test_an_error_of_this_library_is_not_blamed_on_the_template(
    monkeypatch: pytest.MonkeyPatch, inside: str, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(sandbox, inside, fail)
    with pytest.raises(type(error)) as caught:
        ChatTemplate("m", TEMPLATE).render(MESSAGES)
    assert caught.value is error


def test_a_bug_in_the_template_compiler_is_not_reported_as_a_template_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "CostInstrumenter", None)
    with pytest.raises(TypeError, match="NoneType"):
        ChatTemplate("m", "{{ 'not compiled before' }}").render(MESSAGES)
