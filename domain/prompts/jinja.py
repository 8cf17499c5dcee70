"""Export a prompt style as a Jinja chat template, for transformers and servers that load its folders.

Templates are rendered by transformers' `apply_chat_template`, which passes `messages` and
`add_generation_prompt` and defines `raise_exception`. They use only features that other implementations of
Jinja, such as minja in llama.cpp, support too.
"""

from collections.abc import Iterator

from litgpt.domain.prompts.style import PromptStyle

_ONE_QUESTION = "it supports a single question, not a conversation. Ask one question at a time."


def chat_template(style: PromptStyle, *, bos: str = "", last_end: str | None = None) -> str:
    """Return a template that renders conversations like the style.

    Without a generation prompt, a conversation that ends with an answer is rendered like a training example:
    it ends with `last_end`, which the model was trained to generate after an answer.

    Args:
        style: The prompt style.
        bos: The BOS token. Tokenizers do not add it to text rendered by a chat template.
        last_end: Text after a final answer. None is the text after every answer.

    """
    return "\n".join(_lines(style, bos, last_end))


def _lines(style: PromptStyle, bos: str, last_end: str | None) -> Iterator[str]:
    begin = bos + style.begin
    if begin:
        yield _write(_quoted(begin))
    yield "{%- set ns = namespace(system='') -%}"
    yield "{%- if messages and messages[0]['role'] == 'system' -%}"
    yield "{%- set rest = messages[1:] -%}"
    if style.system is None:
        yield _refuse("it does not support a system prompt. Put it into the first question.")
    else:
        yield _set_system(style.system, "messages[0]['content']")
    yield "{%- else -%}{%- set rest = messages -%}"
    if style.default_system is not None and style.system is not None:
        yield _set_system(style.system, _quoted(style.default_system))
    yield "{%- endif -%}"
    if "{system}" not in style.user and style.system is not None:
        yield _write("ns.system")
    if style.end is None:
        yield from _single_turn(style, last_end)
    else:
        yield from _conversation(style, style.end, last_end)
    if style.answer:
        yield f"{{%- if add_generation_prompt -%}}{_write(_quoted(style.answer))}{{%- endif -%}}"


def _single_turn(style: PromptStyle, last_end: str | None) -> Iterator[str]:
    """Yield the template of a single question and, in a training example, its answer."""
    answered = "rest | length == 2 and rest[1]['role'] == 'assistant' and not add_generation_prompt"
    yield f"{{%- if rest | length != 1 and not ({answered}) -%}}{_refuse(_ONE_QUESTION)}{{%- endif -%}}"
    yield f"{{%- if rest[0]['role'] != 'user' -%}}{_refuse_role('rest[0]')}{{%- endif -%}}"
    yield _user(style, "rest[0]")
    yield "{%- if rest | length == 2 -%}"
    yield _answer(style, "rest[1]", _quoted(last_end or ""))
    yield "{%- endif -%}"


def _conversation(style: PromptStyle, end: str, last_end: str | None) -> Iterator[str]:
    yield "{%- for message in rest -%}"
    yield "{%- if message['role'] == 'user' -%}"
    yield _user(style, "message")
    if "{system}" in style.user:
        yield "{%- set ns.system = '' -%}"
    yield "{%- elif message['role'] == 'assistant' -%}"
    if last_end is None or last_end == end:
        yield _answer(style, "message", _quoted(end))
    else:
        yield "{%- if loop.last and not add_generation_prompt -%}"
        yield _answer(style, "message", _quoted(last_end))
        yield "{%- else -%}"
        yield _answer(style, "message", _quoted(end))
        yield "{%- endif -%}"
    yield "{%- elif message['role'] == 'system' -%}"
    yield _refuse("a system prompt must be the first message.")
    yield "{%- else -%}"
    yield _refuse_role("message")
    yield "{%- endif -%}{%- endfor -%}"


def _user(style: PromptStyle, message: str) -> str:
    return _write(_filled(style.user, system="ns.system", content=f"{message}['content']"))


def _answer(style: PromptStyle, message: str, end: str) -> str:
    content = f"{message}['content']"
    if style.lead:
        # Generated answers already begin with the lead.
        begun = f"{content}.startswith({_quoted(style.lead)})"
        content = f"({content} if {begun} else {_quoted(style.lead)} + {content})"
    return _write(" + ".join(part for part in (_quoted(style.answer), content, end) if part != "''"))


def _set_system(template: str, content: str) -> str:
    return f"{{%- set ns.system = {_filled(template, content=content)} -%}}"


def _filled(template: str, **parts: str) -> str:
    """Return a template as a Jinja expression with the first occurrence of each name replaced by its part."""
    if not template:
        return "''"
    for name, part in parts.items():
        before, here, after = template.partition(f"{{{name}}}")
        if here:
            others = {key: value for key, value in parts.items() if key != name}
            pieces = (_filled(before, **others), part, _filled(after, **others))
            return " + ".join(piece for piece in pieces if piece != "''")
    return _quoted(template)


def _write(expression: str) -> str:
    return f"{{{{- {expression} -}}}}"


def _refuse(reason: str) -> str:
    return _write(f"raise_exception({_quoted(reason[0].upper() + reason[1:])})")


def _refuse_role(message: str) -> str:
    role = f"{message}['role']"
    return _write(
        f"raise_exception('Unsupported role ' + {role} + '. Supported: system, user and assistant.')"
    )


def _quoted(text: str) -> str:
    for plain, written in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, written)
    return f"'{text}'"
