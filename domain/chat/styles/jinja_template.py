"""Export a prompt style as a Jinja chat template, for transformers and servers that load its folders.

Templates are rendered by transformers' `apply_chat_template`, which passes `messages` and
`add_generation_prompt` and defines `raise_exception`. They use only features that other implementations of
Jinja, such as minja in llama.cpp, support too.
"""

from collections.abc import Iterator

from litgpt.domain.chat.styles.prompt_style import PromptStyle

_SINGLE_TURN_ONLY = "it supports a single question, not a conversation. Ask one question at a time."


def to_jinja(style: PromptStyle, *, bos: str = "", final_turn_end: str | None = None) -> str:
    """Return a template that renders conversations like the style.

    Without a generation prompt, a conversation that ends with an answer is rendered like a training example:
    it ends with `final_turn_end`, which the model was trained to generate after an answer (None: the text
    after every answer). `bos` is included, as tokenizers do not add it to text rendered by a chat template.
    """
    return "\n".join(_lines(style, bos, final_turn_end))


def _lines(style: PromptStyle, bos: str, final_turn_end: str | None) -> Iterator[str]:
    begin = bos + style.bos
    if begin:
        yield _print(_quote(begin))
    yield "{%- set ns = namespace(system='') -%}"
    yield "{%- if messages and messages[0]['role'] == 'system' -%}"
    yield "{%- set rest = messages[1:] -%}"
    if style.system is None:
        yield _raise("it does not support a system prompt. Put it into the first question.")
    else:
        yield _set_system(style.system, "messages[0]['content']")
    yield "{%- else -%}{%- set rest = messages -%}"
    if style.default_system is not None and style.system is not None:
        yield _set_system(style.system, _quote(style.default_system))
    yield "{%- endif -%}"
    if "{system}" not in style.user and style.system is not None:
        yield _print("ns.system")
    if style.turn_end is None:
        yield from _single_turn(style, final_turn_end)
    else:
        yield from _conversation(style, style.turn_end, final_turn_end)
    if style.generation_prompt:
        yield f"{{%- if add_generation_prompt -%}}{_print(_quote(style.generation_prompt))}{{%- endif -%}}"


def _single_turn(style: PromptStyle, final_turn_end: str | None) -> Iterator[str]:
    """Yield the template of a single question and, in a training example, its answer."""
    answered = "rest | length == 2 and rest[1]['role'] == 'assistant' and not add_generation_prompt"
    yield f"{{%- if rest | length != 1 and not ({answered}) -%}}{_raise(_SINGLE_TURN_ONLY)}{{%- endif -%}}"
    yield f"{{%- if rest[0]['role'] != 'user' -%}}{_raise_unknown_role('rest[0]')}{{%- endif -%}}"
    yield _user(style, "rest[0]")
    yield "{%- if rest | length == 2 -%}"
    yield _answer(style, "rest[1]", _quote(final_turn_end or ""))
    yield "{%- endif -%}"


def _conversation(style: PromptStyle, turn_end: str, final_turn_end: str | None) -> Iterator[str]:
    yield "{%- for message in rest -%}"
    yield "{%- if message['role'] == 'user' -%}"
    yield _user(style, "message")
    if "{system}" in style.user:
        yield "{%- set ns.system = '' -%}"
    yield "{%- elif message['role'] == 'assistant' -%}"
    if final_turn_end is None or final_turn_end == turn_end:
        yield _answer(style, "message", _quote(turn_end))
    else:
        yield "{%- if loop.last and not add_generation_prompt -%}"
        yield _answer(style, "message", _quote(final_turn_end))
        yield "{%- else -%}"
        yield _answer(style, "message", _quote(turn_end))
        yield "{%- endif -%}"
    yield "{%- elif message['role'] == 'system' -%}"
    yield _raise("a system prompt must be the first message.")
    yield "{%- else -%}"
    yield _raise_unknown_role("message")
    yield "{%- endif -%}{%- endfor -%}"


def _user(style: PromptStyle, message: str) -> str:
    return _print(_fill_expression(style.user, system="ns.system", content=f"{message}['content']"))


def _answer(style: PromptStyle, message: str, turn_end: str) -> str:
    content = f"{message}['content']"
    if style.answer_prefix:
        # Generated answers already begin with the lead.
        begun = f"{content}.startswith({_quote(style.answer_prefix)})"
        content = f"({content} if {begun} else {_quote(style.answer_prefix)} + {content})"
    return _print(
        " + ".join(part for part in (_quote(style.generation_prompt), content, turn_end) if part != "''")
    )


def _set_system(template: str, content: str) -> str:
    return f"{{%- set ns.system = {_fill_expression(template, content=content)} -%}}"


def _fill_expression(template: str, **parts: str) -> str:
    """Return a template as a Jinja expression with the first occurrence of each name replaced by its part."""
    if not template:
        return "''"
    for name, part in parts.items():
        before, placeholder, after = template.partition(f"{{{name}}}")
        if placeholder:
            others = {key: value for key, value in parts.items() if key != name}
            pieces = (_fill_expression(before, **others), part, _fill_expression(after, **others))
            return " + ".join(piece for piece in pieces if piece != "''")
    return _quote(template)


def _print(expression: str) -> str:
    return f"{{{{- {expression} -}}}}"


def _raise(reason: str) -> str:
    return _print(f"raise_exception({_quote(reason[0].upper() + reason[1:])})")


def _raise_unknown_role(message: str) -> str:
    role = f"{message}['role']"
    return _print(
        f"raise_exception('Unsupported role ' + {role} + '. Supported: system, user and assistant.')"
    )


def _quote(text: str) -> str:
    for plain, written in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, written)
    return f"'{text}'"
