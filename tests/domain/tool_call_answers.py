"""Answers of models with tool calls, in each format."""

import json
from typing import Any

import attrs

from litgpt.domain.tool_calls import known_formats as known
from litgpt.domain.tool_calls.deltas import (
    Delta,
    ParsedAnswer,
    ToolCallArguments,
    ToolCallRejected,
    ToolCallStart,
)
from litgpt.domain.tool_calls.formats import AnswerFormat, ChannelFormat, ToolCallFormat
from litgpt.domain.tool_calls.parser import AnswerParser

SCHEMAS: dict[str, dict[str, Any]] = {
    "weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "where": {"type": "object"},
            "tags": {"type": "array"},
            "exact": {"type": "boolean"},
        },
        "required": ["city"],
    },
    "now": {"type": "object", "properties": {}},
}
THINK = known.REASONING_FORMATS[-1]


def write_bare(value: Any) -> str:
    """Return a value in the notation of Gemma 4."""
    if isinstance(value, str):
        return f'<|"|>{value}<|"|>'
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{write_bare(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write_bare, value)) + "]"
    return json.dumps(value)


def write_call(  # noqa: PLR0911 - one for each format
    form: ToolCallFormat | ChannelFormat, name: str, arguments: dict[str, Any]
) -> str:
    """Return a call as the model's chat template writes it, without the marks around all calls."""
    text = json.dumps(arguments, ensure_ascii=False)
    plain = {key: item if isinstance(item, str) else json.dumps(item) for key, item in arguments.items()}
    key = "parameters" if form.name == "llama3_json" else "arguments"
    match form.name:
        case "harmony":
            return f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{text}<|call|>"
        case "kimi_k2":
            return f"<|tool_call_begin|>functions.{name}:7<|tool_call_argument_begin|>{text}<|tool_call_end|>"
        case "minimax_m2":
            inner = "".join(f'<parameter name="{key}">{item}</parameter>\n' for key, item in plain.items())
            return f'<invoke name="{name}">\n{inner}</invoke>\n'
        case "gemma4":
            return f"call:{name}{write_bare(arguments)}"
        case "deepseek_v3":
            return (
                f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{text}\n```<｜tool▁call▁end｜>"
            )
        case "deepseek_v3_1":
            return f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{text}<｜tool▁call▁end｜>"
        case "mistral_args":
            return f"{name}[CALL_ID]abcdefghi[ARGS]{text}"
        case "qwen3_coder":
            inner = "".join(f"<parameter={key}>\n{item}\n</parameter>\n" for key, item in plain.items())
            return f"\n<function={name}>\n{inner}</function>\n"
        case "glm4":
            inner = "".join(
                f"<arg_key>{key}</arg_key>\n<arg_value>{item}</arg_value>\n" for key, item in plain.items()
            )
            return f"{name}\n{inner}"
        case _:
            return f'\n{{"name": {json.dumps(name)}, "{key}": {text}}}\n'


def write_answer(form: ToolCallFormat | ChannelFormat, calls: list[tuple[str, dict[str, Any]]]) -> str:
    """Return an answer that consists of calls."""
    written = [write_call(form, *call) for call in calls]
    if isinstance(form, ChannelFormat):
        return "<|start|>assistant".join(written)
    if form.name in ("hermes", "qwen3_coder", "glm4", "gemma4", "mistral_args"):  # marks around each call
        return "\n".join(form.begin + text + form.end for text in written)
    opening = f"{form.opening}" if form.opening else "\n" if form.end else ""
    if form.bare and not form.separator:
        return "".join(written)
    return form.begin + opening + (form.separator or "\n").join(written) + form.end


@attrs.frozen
class Outcome:
    """What does not depend on the chunks: the answer, and the calls as they were streamed."""

    answer: ParsedAnswer
    streamed: dict[int, tuple[str, str]]


def parse(form: AnswerFormat, chunks: list[str], *, in_reasoning: bool = False) -> Outcome:
    parser = AnswerParser(form, SCHEMAS, in_reasoning=in_reasoning)
    deltas: list[Delta] = [delta for chunk in chunks for delta in parser.push(chunk)]
    deltas += parser.finish()
    streamed: dict[int, tuple[str, str]] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallStart):
            assert delta.index == len(streamed) + sum(
                isinstance(x, ToolCallRejected) for x in deltas[: deltas.index(delta)]
            )
            streamed[delta.index] = (delta.name, "")
        elif isinstance(delta, ToolCallArguments):
            streamed[delta.index] = (streamed[delta.index][0], streamed[delta.index][1] + delta.text)
        elif isinstance(delta, ToolCallRejected):
            del streamed[delta.index]
    return Outcome(ParsedAnswer.from_deltas(deltas), streamed)
