"""Tests of chat templates: rendering as in Hugging Face, and protection from untrusted templates."""

from typing import Any

import pytest
from transformers.utils.chat_template_utils import _normalize_chat_messages, render_jinja_template

from litgpt.adapters.tokenization.chat_template.budget import DEFAULT_BUDGET
from litgpt.adapters.tokenization.chat_template.chat_template import ChatTemplate
from litgpt.domain.chat.messages import Message, parse_messages
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.errors import UnsupportedPrompt
from tests.adapters import tiny_tokenizers as tiny

TOKENS: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>"}

# Templates like those of real models, each with different features.
LLAMA2 = """
{%- if messages[0]['role'] == 'system' %}
  {%- set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}
  {%- set said = messages[1:] %}
{%- else %}
  {%- set system, said = '', messages %}
{%- endif %}
{%- for message in said %}
  {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('user and assistant must take turns') }}
  {%- endif %}
  {%- if message.role == 'user' %}
    {{- bos_token ~ '[INST] ' ~ (system if loop.first else '') ~ message.content | trim ~ ' [/INST]' }}
  {%- else %}
    {% generation %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endgeneration %}
  {%- endif %}
{%- endfor %}
"""
QWEN3 = """{%- set ns = namespace(last=messages|length - 1, many=true) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.many and message.role == "user" and not message.content.startswith('<tool_response>') %}
        {%- set ns.many = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- if tools %}{{- tools | tojson }}{%- endif %}
{%- for message in messages %}
    {%- set content = message.content.split('</think>')[-1].lstrip('\\n') if '</think>' in message.content
        else message.content %}
    {{- '<|im_start|>%s\\n' % message.role + content + '<|im_end|>\\n' }}
    {%- if loop.index0 > ns.last %}{% continue %}{% endif %}
    {{- {'role': message.role, 'é': ["<b>", 1.5, none]} | tojson(indent=2) }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}no{% endif %}
{%- endif %}"""
MACROS = """{% macro part(role, text) -%}
<|{{ role }}|>{{ text | replace('\\n', ' ') | upper }}
{%- endmacro %}
{% for message in messages if message.role != 'system' %}
    {{ part(message.role, message['content']) }}
    {{ "{}-{}".format(loop.index, loop.last) }} {{ [message.role, 'x'] | join('+') }}
{% else %}
    nobody
{% endfor %}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | length }}
{{ messages | map(attribute='role') | unique | join(', ') }} {{ range(3) | list }} {{ 2 ** 3 * 'ab' }}
{{ strftime_now('%Y') | length }} {{ dict(a=1) | items | list }} {{ nothing }} {{ nothing is defined }}"""

CONVERSATIONS = (
    (("user", "Hi"),),
    (("system", " Be brief. "), ("user", "2 < 3?\n")),
    (("user", "a"), ("assistant", "<think>\nhm\n</think>\n\nb"), ("user", "<tool_response>é")),
)


@pytest.mark.parametrize(
    "template", [tiny.CHATML, LLAMA2, QWEN3, MACROS], ids=["chatml", "llama2", "qwen3", "macros"]
)
@pytest.mark.parametrize("messages", CONVERSATIONS, ids=["question", "system", "talk"])
@pytest.mark.parametrize("answer", [True, False])
def test_templates_are_rendered_as_transformers_renders_them(
    template: str,
    messages: tuple[tuple[str, str], ...],
    answer: bool,  # noqa: FBT001
) -> None:
    talk = [Message(*value) for value in messages]
    expected = render_jinja_template(
        [[value.as_dict() for value in talk]], chat_template=template, add_generation_prompt=answer, **TOKENS
    )
    assert ChatTemplate("m", template, TOKENS).render(talk, add_generation_prompt=answer) == expected[0][0]


def render(template: str, budget: int = DEFAULT_BUDGET) -> str:
    return ChatTemplate("m", template, TOKENS, budget).render([Message("user", "Hi")])


CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": [1, None]}}}
TOOLS = """{% if tools %}{{ tools | tojson }}{% endif %}{{ documents }}{{ enable_thinking is defined }}
{%- for m in messages %}<{{ m.role }} {{ m.name }}>
{%- if m.reasoning_content %}[{{ m.reasoning_content }}]{% endif %}
{%- if m.content is string %}{{ m.content }}{% elif m.content is defined -%}
{% for part in m.content %}{{ part.text }};{% endfor %}{% else %}nothing{% endif %}
{%- for call in m.tool_calls or [] %}{{ call.function.name }}({{ call.function.arguments | tojson }})
{%- endfor %}
{%- if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"""
STRIPPING = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}"
TALK: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "name": "Ada",
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL], "thinking": "Hm."},
    {"role": "tool", "content": "22", "tool_call_id": "1", "name": "f"},
    {"role": "assistant", "content": "It is ", "reasoning": "So."},
]


@pytest.mark.parametrize("template", [TOOLS, STRIPPING, LLAMA2, QWEN3])
@pytest.mark.parametrize("messages", [TALK[2:], TALK, TALK[:1]])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tools": [CALL]},
        {"tools": []},
        {"variables": {"enable_thinking": False, "documents": [{"text": "é"}], "eos_token": "<e>"}},
        {"continue_final_message": True},
        {"continue_final_message": "reasoning_content"},
        {"continue_final_message": "nothing"},
    ],
)
def test_tools_variables_and_unfinished_messages_are_rendered_as_transformers_renders_them(
    template: str, messages: list[dict[str, Any]], options: dict[str, Any]
) -> None:
    def rendered() -> str:
        return ChatTemplate("m", template, TOKENS).render(
            parse_messages(messages), add_generation_prompt=False, options=TemplateOptions(**options)
        )

    variables = {**TOKENS, **options.get("variables", {}), **options}
    variables.pop("variables", None)
    try:
        expected = render_jinja_template(
            [_normalize_chat_messages(messages)], chat_template=template, **variables
        )
    except Exception:  # noqa: BLE001 - whatever transformers refuses
        with pytest.raises(UnsupportedPrompt):
            rendered()
    else:
        assert rendered() == expected[0][0]


def test_a_template_for_tools_is_rendered_where_there_are_tools() -> None:
    template = ChatTemplate("m", "chat", named_templates={"tool_use": "tools", "rag": "documents"})
    messages = [Message("user", "Hi")]
    assert template.render(messages) == "chat"
    assert template.render(messages, options=TemplateOptions(tools=[])) == "tools"
    without = ChatTemplate("m", None, named_templates={"rag": "documents", "tool_use": "tools"})
    assert without.render(messages, options=TemplateOptions(tools=[{"type": "function"}])) == "tools"
    with pytest.raises(UnsupportedPrompt, match="rag, tool_use"):
        without.render(messages)


def test_the_message_of_raise_exception_is_reported() -> None:
    with pytest.raises(
        UnsupportedPrompt, match="template of m does not support this: no system prompts, please"
    ):
        render("{{ raise_exception('no system prompts, please') }}")


@pytest.mark.parametrize(
    "template", ["{% for %}", "{{ unclosed", "{% include '/etc/passwd' %}", "{{ messages + 1 }}"]
)
def test_a_broken_template_is_an_error_when_it_is_used(template: str) -> None:
    unused = ChatTemplate("m", template)
    with pytest.raises(UnsupportedPrompt, match="template of m"):
        unused.render([Message("user", "Hi")])


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__ }}",
        "{{ raise_exception.__globals__['os'].system('true') }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ (messages | attr('__class__')).__name__.x }}",
        "{{ '{0.__class__.__mro__}'.format(messages).x.y }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ namespace(_secret=1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum() }}",
    ],
)
def test_the_sandbox_cannot_be_escaped(template: str) -> None:
    with pytest.raises(UnsupportedPrompt):
        render(template)


GROWING = {
    "plus": "ns.x + ns.x",
    "tilde": "ns.x ~ ns.x",
    "times": "ns.x * 2",
    "format": "'%s%s' % (ns.x, ns.x)",
    "braces": "'{}{}'.format(ns.x, ns.x)",
    "join": "[ns.x, ns.x] | join",
    "join by method": "ns.x.join([ns.x, ns.x])",
    "replace": "ns.x | replace('a', 'aa')",
    "replace by method": "ns.x.replace('a', 'aa')",
    "list": "[ns.x, ns.x]",
    "tuple": "(ns.x, ns.x)",
    "mapping": "{'a': ns.x, 'b': ns.x}",
    "dict": "dict(a=ns.x, b=ns.x)",
    "numbers": "ns.n * ns.n",
}


BLOCK = "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}"


@pytest.mark.parametrize("step", GROWING.values(), ids=GROWING)
def test_repeated_doubling_is_stopped(step: str) -> None:
    name = "n" if "ns.n" in step else "x"
    loop = f"{{% for i in range(22) %}}{{% set ns.{name} = {step} %}}{{% endfor %}}"
    with pytest.raises(UnsupportedPrompt, match="exceeds the limits on loops"):
        render(f"{{% set ns = namespace(x='aaaa', n=3) %}}{loop}", budget=1_000_000)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(999) %}{% for b in range(999) %}{% endfor %}{% endfor %}",
        "{% set r = range(999) | list %}{% for a in r %}{% for b in r if false %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(18) }}",
        f"{{% set n = namespace(x='a') %}}{{% for i in range(22) %}}{BLOCK}{{% endfor %}}",
        "{% set x = 'a' * 10 ** 7 %}",
        "{% set x = [0] * 9999999 %}",
        "{{ (['a' * 9999] * 999) | join | length }}",
        "{{ ([messages[0].content * 9999] * 999) | map('upper') | join | length }}",
        "{% set s = 'a' * 99999 %}{% for i in range(999) %}{% if 'b' in s %}{% endif %}{% endfor %}",
        "{% set s = 'a' * 99999 %}{% for i in range(999) %}{% set t = s[1:] %}{% endfor %}",
        "{% set s = 'a' * 99999 %}{% for i in range(999) %}{% set t = s.count('b') %}{% endfor %}",
        "{% for i in range(9999) %}" + "static text " * 100 + "{% endfor %}",
        "{{ ('a\n' * 9999) | indent(9999) }}",
        "{{ 'a'.ljust(10000000) }}",
        "{{ 'a'.split(sep='b', maxsplit=10000000) }}",
        "{{ 1.5 | round(99999999) }}",
    ],
)
def test_a_template_without_end_or_beyond_memory_is_stopped(template: str) -> None:
    with pytest.raises(UnsupportedPrompt, match="exceeds the limits on loops"):
        render(template, budget=2_000_000)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for i in range(10 ** 6) %}x{% endfor %}", "Range too big"),
        ("{{ 10 ** 100000 }}", "exceeds the limits"),
        ("{{ 'a' | center(10000000) }}", "No filter named 'center'"),
        ("{{ range(9999).count(-1) }}", "may not call count of range"),
        ("{{ '%9999999d' % 1 }}", "a width"),
        ("{{ '%*d' % (9999999, 1) }}", "a width"),
        ("{{ '{:9999999}'.format(1) }}", "a width"),
        ("{{ '{:{}}'.format(1, 9999999) }}", "a width"),
        ("{{ strftime_now('%9999999d') }}", "a width"),
        ("{{ (5).to_bytes(9999999, 'big') }}", "may not call to_bytes of int"),
        ("{{ [0] | tojson(indent=99) }}", "indents"),
        ("{{ 'a'.translate({97: 'bb'}) }}", "translate"),
        ("{{ messages | pprint }}", "No filter named 'pprint'"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "recursion"),
        ("x" * 1_000_001, "longer than"),
    ],
)
def test_unneeded_template_features_are_refused_by_name(template: str, reason: str) -> None:
    with pytest.raises(UnsupportedPrompt, match=reason):
        render(template)


def test_one_rendering_does_not_use_up_the_budget_of_the_next() -> None:
    template = ChatTemplate("m", "{% for i in range(100) %}{% endfor %}ok", budget=30_000)
    assert [template.render([Message("user", "Hi")]) for _ in range(5)] == ["ok"] * 5


def test_a_long_conversation_is_well_within_the_budget() -> None:
    words = "word " * 400
    messages = [Message("assistant" if turn % 2 else "user", words) for turn in range(2001)]
    for template in (tiny.CHATML, LLAMA2, QWEN3):
        assert words.strip() in ChatTemplate("m", template, TOKENS).render(messages)
