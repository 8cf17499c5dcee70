"""The formats of models, and their detection from a chat template."""

import attrs

from litgpt.domain.tool_calls.formats import (
    AnswerFormat,
    BareKeyArguments,
    ChannelFormat,
    HistoryFormat,
    JSONCall,
    NamedCall,
    ReasoningFormat,
    TaggedArguments,
    ToolCallFormat,
)

HERMES = ToolCallFormat(
    name="hermes",
    template_marks=("<tool_call>",),
    begin="<tool_call>",
    call=JSONCall(),
    end="</tool_call>",
)
"""Hermes, Qwen 2.5 and Qwen3, SmolLM3, Granite and others."""

QWEN3_CODER = ToolCallFormat(
    name="qwen3_coder",
    template_marks=("<tool_call>", "<function=", "<parameter="),
    begin="<tool_call>",
    call=NamedCall(
        before_name="<function=",
        after_name=">",
        arguments=TaggedArguments(
            key_begin="<parameter=", key_end=">", value_end="</parameter>", newlines=True
        ),
    ),
    call_end="</function>",
    end="</tool_call>",
)
"""Qwen3-Coder, Qwen3.5 and Nemotron 3."""

LLAMA3_JSON = ToolCallFormat(
    name="llama3_json",
    template_marks=("<|start_header_id|>", '"parameters"'),
    begin="<|python_tag|>",
    bare=True,
    call=JSONCall(arguments=("parameters", "arguments")),
    separator=";",
)
"""Llama 3.1 to 3.3."""

MISTRAL = ToolCallFormat(
    name="mistral",
    template_marks=("[TOOL_CALLS]",),
    begin="[TOOL_CALLS]",
    opening="[",
    call=JSONCall(),
    separator=",",
    end="]",
)
"""Mistral up to the tokenizer version 7."""

MISTRAL_ARGS = ToolCallFormat(
    name="mistral_args",
    template_marks=("[TOOL_CALLS]", "[ARGS]"),
    begin="[TOOL_CALLS]",
    call=NamedCall(before_id="[CALL_ID]", after_name="[ARGS]"),
)
"""Mistral from the tokenizer version 11 on."""

DEEPSEEK_V3_1 = ToolCallFormat(
    name="deepseek_v3_1",
    template_marks=("<｜tool▁calls▁begin｜>",),
    begin="<｜tool▁calls▁begin｜>",
    call=NamedCall(before_name="<｜tool▁call▁begin｜>", after_name="<｜tool▁sep｜>"),
    call_end="<｜tool▁call▁end｜>",
    end="<｜tool▁calls▁end｜>",
    history=HistoryFormat(string_arguments=True),
)
"""DeepSeek V3.1."""

DEEPSEEK_V3 = attrs.evolve(
    DEEPSEEK_V3_1,
    name="deepseek_v3",
    template_marks=("<｜tool▁calls▁begin｜>", "```json"),
    call=NamedCall(before_name="<｜tool▁call▁begin｜>function<｜tool▁sep｜>", after_name="```json"),
    call_end="```<｜tool▁call▁end｜>",
    history=HistoryFormat(string_arguments=True, null_content=True),
)
"""DeepSeek V3 and R1, and the models distilled from R1."""

GLM4 = ToolCallFormat(
    name="glm4",
    template_marks=("<tool_call>", "<arg_key>", "<arg_value>"),
    begin="<tool_call>",
    call=NamedCall(
        arguments=TaggedArguments(
            key_begin="<arg_key>", key_end="</arg_key>", value_begin="<arg_value>", value_end="</arg_value>"
        )
    ),
    end="</tool_call>",
)
"""GLM 4.5 and later."""

GEMMA4 = ToolCallFormat(
    name="gemma4",
    template_marks=("<|tool_call>",),
    begin="<|tool_call>",
    call=NamedCall(before_name="call:", arguments=BareKeyArguments(quote='<|"|>')),
    end="<tool_call|>",
)
"""Gemma 4."""

MINIMAX_M2 = ToolCallFormat(
    name="minimax_m2",
    template_marks=("<minimax:tool_call>",),
    begin="<minimax:tool_call>",
    call=NamedCall(
        before_name='<invoke name="',
        after_name='">',
        arguments=TaggedArguments(key_begin='<parameter name="', key_end='">', value_end="</parameter>"),
    ),
    call_end="</invoke>",
    end="</minimax:tool_call>",
)
"""MiniMax M2."""

KIMI_K2 = ToolCallFormat(
    name="kimi_k2",
    template_marks=("<|tool_calls_section_begin|>",),
    begin="<|tool_calls_section_begin|>",
    call=NamedCall(
        before_name="<|tool_call_begin|>",
        after_name="<|tool_call_argument_begin|>",
        name_prefix="functions.",
    ),
    call_end="<|tool_call_end|>",
    end="<|tool_calls_section_end|>",
)
"""Kimi K2."""

HARMONY = ChannelFormat(
    name="harmony",
    template_marks=("<|channel|>", "<|message|>", "<|start|>"),
    start="<|start|>",
    channel="<|channel|>",
    message="<|message|>",
    ends=("<|end|>", "<|call|>", "<|return|>"),
    recipient="to=functions.",
    call_channel="commentary",
    call_content_type="<|constrain|>json",
    call_end="<|call|>",
    reasoning=("analysis",),
    history=HistoryFormat(reasoning_or_content=True),
)
"""gpt-oss."""

GENERIC_JSON = ToolCallFormat(name="json", bare=True, call=JSONCall())
"""Any other model: an answer that is `{"name": …, "arguments": {…}}`."""

# A format precedes those whose template marks it has as well.
TOOL_CALL_FORMATS: tuple[ToolCallFormat | ChannelFormat, ...] = (
    HARMONY,
    KIMI_K2,
    MINIMAX_M2,
    GEMMA4,
    DEEPSEEK_V3,
    DEEPSEEK_V3_1,
    MISTRAL_ARGS,
    MISTRAL,
    QWEN3_CODER,
    GLM4,
    HERMES,
    LLAMA3_JSON,
    GENERIC_JSON,
)
"""All formats; the first whose marks a template has is that of its model."""

REASONING_FORMATS = (
    ReasoningFormat(begin="<|channel>thought", end="<channel|>"),  # Gemma 4
    ReasoningFormat(begin="<seed:think>", end="</seed:think>"),  # Seed-OSS
    ReasoningFormat(begin="[THINK]", end="[/THINK]"),  # Magistral
    ReasoningFormat(begin="<|START_THINKING|>", end="<|END_THINKING|>"),  # Command A
    ReasoningFormat(begin="<think>", end="</think>"),  # DeepSeek R1, Qwen3, GLM, Kimi, MiniMax and others
)
"""The first of which a template has a mark is that of its model."""


def detect_format(template: str, *, tools: bool) -> AnswerFormat | None:
    """Return the format of the answers of a model with a chat template.

    Args:
        template: The source of the chat template.
        tools: Whether tools are passed to the template. Calls are then parsed, as `GENERIC_JSON` if the
            template does not show another format.

    Returns:
        The format; None if neither tool calls nor reasoning can occur.
    """
    calls = next(one for one in TOOL_CALL_FORMATS if all(mark in template for mark in one.template_marks))
    if isinstance(calls, ChannelFormat):
        return AnswerFormat(calls)
    reasoning = next((one for one in REASONING_FORMATS if one.begin in template or one.end in template), None)
    return AnswerFormat(calls if tools else None, reasoning) if tools or reasoning else None
