"""Tests of the template sandbox: no template exhausts CPU time or memory, and harmless ones render.

Each template is small enough to fail its test without exhausting the machine.
"""

import pytest

from litgpt.adapters.tokenization.chat_template.chat_template import ChatTemplate
from litgpt.domain.chat.messages import Message
from litgpt.domain.errors import UnsupportedPrompt


def render(template: str, budget: int = 1_000_000) -> str:
    return ChatTemplate("m", template, {"bos_token": "<s>"}, budget).render([Message("user", "Hi")])


SHARED = "{% set n = namespace(x=[0]) %}{% for i in range(16) %}{% set n.x = STEP %}{% endfor %}"
TWICE = SHARED.replace("STEP", "(n.x * 2) | batch(2) | list")

GOING_THROUGH = {
    "sort": "{{ (['A' * 9999] * 999) | sort | length }}",
    "unique": "{{ (['A' * 9999] * 999) | unique | list }}",
    "max": "{{ (['A' * 9999] * 999) | max }}",
    "what map gives": "{{ (['A' * 9999] * 999) | map('default', 'x') | sort | length }}",
    "join": "{% set x = ['a' * 999] * 99 %}{% for i in range(99) %}{% set y = ''.join(x) %}{% endfor %}",
    "list": "{% set x = [0] * 999 %}{% for i in range(99) %}{% set y = x | list %}{% endfor %}",
    "groupby": "{{ ([{'a': 'A' * 9999}] * 999) | groupby('a') }}",
    "in": "{% set s = 'a' * 9999 %}{% for i in range(999) %}{% if 'b' is in s %}{% endif %}{% endfor %}",
    "select": "{{ (['b'] * 999) | select('in', 'a' * 9999) | list }}",
    "in a range": "{% set r = range(999) %}{% for i in r %}{% if 'a' in r %}{% endif %}{% endfor %}",
    "lists in lists": TWICE + "{% if n.x == 1 %}{% endif %}",
    "a list's copy": "{% set x = [0] * 999 %}{% for i in range(99) %}{% set y = x.copy() %}{% endfor %}",
    "a list's count": "{% set x = [0] * 999 %}{% for i in range(99) %}{% set y = x.count(1) %}{% endfor %}",
    "a mapping's copy": (
        "{% set x = dict(range(1998) | batch(2)) %}{% for i in range(99) %}{% set y = x.copy() %}{% endfor %}"
    ),
    "loop.changed": "{% set s = 'a' * 9999 %}{% for i in range(999) %}{{ loop.changed(s) }}{% endfor %}",
    "filters on filters": "{{ (messages * 999)" + " | map('default', 'x')" * 40 + " | list }}",
    "a long body": "{% for i in range(999) %}" + "{% if x is none %}{% endif %}" * 99 + "{% endfor %}",
    "what is called": (
        "{% macro f() %}{% for i in range(99) %}{{ caller() }}{% endfor %}{% endmacro %}{% call f() %}"
        + "{% if x is none %}{% endif %}" * 499
        + "{% endcall %}"
    ),
    "arguments": (
        "{% macro f() %}{{ varargs | length }}{% endmacro %}"
        "{% for i in range(99) %}{{ f(*range(999)) }}{% endfor %}"
    ),
    "strip": "{{ ('a' * 9999).strip('b' * 9999 + 'a') }}",
    "trim": "{{ ('a' * 9999) | trim('b' * 9999 + 'a') }}",
    "rfind": "{{ ('a' * 9999).rfind('b' + 'a' * 999) }}",
}

MAKING = {
    "format": "{{ ('{0}' * 999).format('a' * 9999) }}",
    "format by %": "{{ ('%s' * 99) % (['a' * 9999] * 99) }}",
    "format by a filter": "{{ ('%s' * 9999) | format('a' * 9999) }}",
    "replace": "{% set x = ('a' * 9999).replace('a', 'b' * 999) %}",
    "replace by name": "{% set x = ('a' * 9999) | replace(new='b' * 999, old='') %}",
    "join": "{% set x = range(999) | list | join('b' * 9999) %}",
    "join by method": "{% set x = ('b' * 9999).join(range(999) | map('string')) %}",
    "batch": "{% set x = messages | batch(1999999, 'x') | list %}",
    "JSON that is deep": (
        "{% set n = namespace(x=[[0] * 999]) %}"
        "{% for i in range(200) %}{% set n.x = n.x | batch(9) | list %}{% endfor %}"
        "{% set x = n.x | tojson(indent=8) %}"
    ),
    "times": "{% set x = strftime_now('%Y' * 29999) %}",
    "what is written": "{% for i in range(999) %}" + "static text " * 199 + "{% endfor %}",
    "letters": "{% set x = ('a' * 99999) | list %}",
    "words": "{{ ('a ' * 9999).split() }}",
    "titles": "{{ ('a ' * 19999) | title }}",
    "a mapping": "{% set d = {'a': 'a' * 9999} %}{% for i in range(999) %}{{ d.items() }}{% endfor %}",
    "a large number": "{% set x = ('f' * 99) | int(base=16) %}",
    "a larger number": "{% set x = 2 ** 62 %}{{ x * x * x }}",
    "a sign": "{% set x = 2 ** 64 %}{{ -x }}",
    "callers": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(14) }}",
}


@pytest.mark.parametrize("template", GOING_THROUGH.values(), ids=GOING_THROUGH)
def test_iteration_is_charged_to_the_budget(template: str) -> None:
    with pytest.raises(UnsupportedPrompt, match="exceeds the limits on loops"):
        render(template)


@pytest.mark.parametrize("template", MAKING.values(), ids=MAKING)
def test_created_values_are_charged_to_the_budget(template: str) -> None:
    with pytest.raises(UnsupportedPrompt, match="exceeds the limits on loops"):
        render(template)


def test_nothing_is_ever_given_back() -> None:
    with pytest.raises(UnsupportedPrompt, match="exceeds the limits"):
        render("{% set x = ('a\n' * 9999) | indent(-9999) %}{{ 'a' * 999999 }}")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ ('\t' * 999).expandtabs(9999) }}", "may not call expandtabs of str"),
        ("{{ [[0]] | sum(start=[]) }}", "No filter named 'sum'"),
        ("{{ '<!---->' | striptags }}", "No filter named 'striptags'"),
        ("{{ '%(a(b)c)999d' % {'a(b)c': 1} }}", "by key"),
        ("{{ ('{:999}' | attr('format'))(1) }}", "a width"),
        ("{{ '{a:999}'.format_map({'a': 1}) }}", "a width"),
        ("{{ ('{:999}' | safe).format(1) }}", "a width"),
        ("{{ '{:{{{0}}}}'.format(999) }}", "a width"),
        ("{% for f in ['{:999}'] | map(attribute='format') %}{{ f(1) }}{% endfor %}", "a width"),
        ("{% block a %}{{ self.a() }}{% endblock %}", "block 'a'"),
        ("{{ ['a'] | tojson(indent='\t' * 99) }}", "indents"),
        ("{{ '' }}" * 20_000, "longer than"),
    ],
)
def test_template_features_outside_the_allowlist_are_refused(template: str, reason: str) -> None:
    with pytest.raises(UnsupportedPrompt, match=reason):
        render(template)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ '**%s**, 12345%%' % 'bold' }}", "**bold**, 12345%"),
        ('{{ \'{{"name": "{}", "n": {:.2f}}}\'.format(\'x\', 1) }}', '{"name": "x", "n": 1.00}'),
        ("{{ '%s%%(a), 5%%123' % 'x' }}", "x%(a), 5%123"),
        ("{% set n = namespace(x='a' * 99999) %}{{ n }}", "<namespace>"),
        ("{% for i in range(9) %}{% set s = 'a' * 99999 %}{{ 'b'.upper() }}{% endfor %}", "B" * 9),
        ("{{ nothing | default(131072) }}", "131072"),
        ("{{ messages[::-1][0].content.ljust(4) + '|' }}", "Hi  |"),
        ("{{ {'b': [1, {'c': none}]} | tojson }}", '{"b": [1, {"c": null}]}'),
        ("{{ [-1, 3.5] | map('abs') | max }}{{ 7 // 2 }}{{ 7 % 2 }}{{ -2 ** 2 }}", "3.5314"),
        ("{{ 'x'.join(messages | map(attribute='role')) ~ ('a-b'.split(sep='-') | last) }}", "userb"),
        ("{{ ' a\n b ' | trim | indent(2, first=true) }}", "  a\n   b"),
        (
            "{{ 'a' is in 'cat' }}{{ 'A' is upper }}{{ messages is iterable }}{{ 4 is divisibleby 2 }}",
            "True" * 4,
        ),
    ],
)
def test_harmless_templates_render_as_in_jinja(template: str, text: str) -> None:
    assert render(template) == text
