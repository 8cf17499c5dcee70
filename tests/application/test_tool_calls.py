"""Tool calls in completions, and conversations that call Python functions."""

import json
from enum import Enum
from typing import Any, Literal

import pytest

from litgpt.application.chat import Conversation, TurnOptions
from litgpt.application.generate_text import GenerateText
from litgpt.application.render_prompt import RenderPrompt
from litgpt.application.tools.python_tools import PythonTools, result_text
from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.errors import TooManyToolRounds
from litgpt.domain.generation.request import CompletionChunk, GenerationRequest
from litgpt.domain.tool_calls.answer_syntax import answer_syntax
from litgpt.domain.tool_calls.deltas import ParsedAnswer, ToolCall
from litgpt.testing import ByteTokenizer, ScriptedGenerator

END = 257
TEMPLATE = "{{ '<tool_call>' }} {{ '<think>' }}"


def call_text(name: str, arguments: object) -> bytes:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(arguments)}}}\n</tool_call>'.encode()


class Unit(Enum):
    """A unit of temperature."""

    CELSIUS = "celsius"
    KELVIN = "kelvin"


class Talk:
    """A conversation whose model says the given texts, one for each answer."""

    def __init__(
        self, *answers: bytes, tools: list[Any], max_tool_rounds: int = 8, template: str = TEMPLATE
    ) -> None:
        self.generator = ScriptedGenerator(b"", context=100_000)
        self.answers = list(answers)
        self.tokenizer = ByteTokenizer(template=template)
        self.renderer = RenderPrompt(self.tokenizer, None, TemplateOptions(tools=tools))
        self.turn = TurnOptions(
            self.renderer,
            self._request,
            tools=PythonTools.from_tools(tools, self.renderer.options.tools),
            max_tool_rounds=max_tool_rounds,
        )
        generate = GenerateText(self.tokenizer, self.generator)
        self.conversation = Conversation(self.renderer, generate)

    def _request(self, ids: list[int]) -> GenerationRequest:
        self.generator.script = [*self.answers.pop(0), END]
        return GenerationRequest(prompt=ids, max_new_tokens=1000, stop_token_ids=frozenset({END}))

    def send(self, text: str = "Warm?") -> list[CompletionChunk]:
        return list(self.conversation.send(text, self.turn))

    @property
    def messages(self) -> list[Message]:
        return self.conversation.messages


def temperature(city: str, unit: Unit = Unit.CELSIUS, days: int = 1) -> dict[str, Any]:
    """Return the temperature.

    Args:
        city: Where.
        unit: The unit.
        days: How many days.
    """
    return {"city": city, "unit": unit.name, "days": days}


def fails(reason: str) -> str:
    """Fail.

    Args:
        reason: Why.
    """
    raise RuntimeError(reason)


SCHEMA = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}


def test_functions_are_called_until_the_model_answers() -> None:
    talk = Talk(
        b"Let me see.\n" + call_text("temperature", {"city": "Rome"}),
        call_text("temperature", {"city": "Oslo", "unit": "kelvin", "days": 2.0}),
        b"Rome is warmer.",
        tools=[temperature],
    )
    chunks = talk.send()
    completions = [chunk.completion for chunk in chunks if chunk.completion is not None]
    assert [x.finish_reason for x in completions] == ["tool_calls", "tool_calls", "stop"]
    assert [x.text for x in completions] == ["Let me see.", "", "Rome is warmer."]
    assert "".join(chunk.text for chunk in chunks) == "Let me see.Rome is warmer."
    question, first, result, _, second, answer = talk.messages
    assert (question.role, answer) == ("user", Message("assistant", "Rome is warmer."))
    call = first.fields["tool_calls"][0]
    assert call["function"] == {"name": "temperature", "arguments": {"city": "Rome"}}
    assert (first.content, result.role, result.fields["tool_call_id"]) == ("Let me see.", "tool", call["id"])
    assert json.loads(result.text) == {"city": "Rome", "unit": "CELSIUS", "days": 1}
    assert json.loads(second.text) == {"city": "Oslo", "unit": "KELVIN", "days": 2}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("tempature", {}), "Error: tool 'tempature' does not exist. The tools are temperature, fails."),
        (("temperature", {}), "Error: temperature was not called. The argument 'city' is missing."),
        (("temperature", {"city": 5}), "'city' must be string, not the integer 5."),
        (("temperature", {"city": "a", "unit": "x"}), '\'unit\' must be one of ["celsius", "kelvin"]'),
        (
            ("temperature", {"city": "a", "town": 1}),
            "Argument 'town' does not exist: the arguments are city, unit, days.",
        ),
        (("temperature", {"city": "a", "days": 1.5}), "'days' must be integer, not the number 1.5."),
        (("fails", {"reason": "broken"}), "Error: fails raised RuntimeError: broken"),
    ],
)
def test_the_model_is_sent_what_is_wrong_with_a_call(call: tuple[str, Any], message: str) -> None:
    talk = Talk(call_text(*call), b"Sorry.", tools=[temperature, fails])
    assert talk.send()[-1].completion is not None
    assert message in talk.messages[2].text
    assert talk.messages[3].content == "Sorry."


def test_calls_without_a_function_are_returned() -> None:
    for tools in ([SCHEMA], [temperature, SCHEMA]):
        talk = Talk(call_text("lookup", {"q": [1]}) + call_text("temperature", {"city": "a"}), tools=tools)
        completion = talk.send()[-1].completion
        assert completion is not None
        assert [call.name for call in completion.tool_calls] == ["lookup", "temperature"]
        assert len({call.id for call in completion.tool_calls}) == 2
        assert (completion.finish_reason, len(talk.messages)) == ("tool_calls", 2)


def test_the_number_of_rounds_is_limited() -> None:
    talk = Talk(
        *[call_text("temperature", {"city": "a"})] * 3, b"Done.", tools=[temperature], max_tool_rounds=2
    )
    with pytest.raises(TooManyToolRounds, match=r"2 times in a row .* last temperature.*max_tool_rounds"):
        talk.send()
    assert [message.role for message in talk.messages] == ["user", *["assistant", "tool"] * 3]
    assert "not called" in talk.messages[-1].text
    assert "".join(chunk.text for chunk in talk.send("Answer!")) == "Done."


def test_calls_of_an_answer_that_is_cut_off_are_not_run() -> None:
    talk = Talk(call_text("temperature", {"city": "a"}) + b" and then", tools=[temperature])
    talk.turn = TurnOptions(
        talk.renderer,
        lambda ids: GenerationRequest(prompt=ids, max_new_tokens=len(talk._request(ids).prompt) and 90),
        tools=talk.turn.tools,
    )
    completion = talk.send()[-1].completion
    assert completion is not None
    assert (completion.finish_reason, len(completion.tool_calls), len(talk.messages)) == ("length", 1, 2)


def test_the_message_with_calls_is_as_the_template_needs_it() -> None:
    mark, separator, end = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"  # noqa: RUF001
    written = f'<｜tool▁calls▁begin｜>{mark}function{separator}lookup\n```json\n{{"q": "é"}}\n```{end}'  # noqa: RUF001
    talk = Talk(written.encode(), tools=[SCHEMA], template="<｜tool▁calls▁begin｜> ```json")  # noqa: RUF001
    talk.send()
    message = talk.messages[-1]
    assert message.content is None
    assert message.fields["tool_calls"][0]["function"] == {"name": "lookup", "arguments": '{"q": "é"}'}


def test_text_beside_reasoning_and_a_call_is_where_the_template_accepts_it() -> None:
    parts = (
        "<|channel|>analysis<|message|>Hm.<|end|>",
        "<|start|>assistant<|channel|>commentary<|message|>Wait.<|end|>",
        '<|start|>assistant to=functions.lookup<|channel|>commentary json<|message|>{"q": 1}',
    )
    talk = Talk("".join(parts).encode(), tools=[SCHEMA], template="<|start|><|channel|><|message|>")
    completion = talk.send()[-1].completion
    assert completion is not None
    assert (completion.text, completion.reasoning) == ("Wait.", "Hm.")
    message = talk.messages[-1]
    assert (message.content, message.fields["reasoning_content"]) == ("", "Hm.\n\nWait.")
    assert message.fields["tool_calls"][0]["function"] == {"name": "lookup", "arguments": {"q": 1}}


def test_reasoning_is_split_off_and_remembered() -> None:
    talk = Talk(
        b"<think>\nHm.\n</think>\n\n" + call_text("temperature", {"city": "a"}), b"Hot.", tools=[temperature]
    )
    first = next(chunk.completion for chunk in talk.send() if chunk.completion is not None)
    assert (first.text, first.reasoning) == ("", "Hm.")
    assert talk.messages[1].fields["reasoning_content"] == "Hm."


def test_chunks_have_the_deltas_of_the_completion() -> None:
    talk = Talk(b"A " + call_text("lookup", {"q": "x"}) + b" b", tools=[SCHEMA])
    chunks = talk.send()
    completion = chunks[-1].completion
    assert completion is not None
    answer = ParsedAnswer.from_deltas(delta for chunk in chunks for delta in chunk.deltas)
    assert (answer.text, answer.tool_calls) == (completion.text, completion.tool_calls)
    assert "".join(chunk.text for chunk in chunks) == completion.text == "A b"


def test_a_call_that_cannot_be_parsed_is_text() -> None:
    talk = Talk(b'<tool_call>{"name": "lookup", "arguments": {"q": }}</tool_call>', tools=[SCHEMA])
    completion = talk.send()[-1].completion
    assert completion is not None
    assert completion.text == '<tool_call>{"name": "lookup", "arguments": {"q": }}</tool_call>'
    assert (completion.finish_reason, completion.tool_calls) == ("stop", ())


def test_without_tools_the_answer_is_as_it_is_unless_reasoning_is_split_off() -> None:
    tokenizer = ByteTokenizer(template=TEMPLATE)
    text = b"<think>a</think>\n\nb <tool_call>"
    request = GenerationRequest(prompt=[1], max_new_tokens=len(text))
    renderer = RenderPrompt(tokenizer, None)
    generate = GenerateText(tokenizer, ScriptedGenerator(text))
    assert renderer.answer_syntax("", split_reasoning=False) is None
    assert generate.complete([request])[0].text == text.decode()
    syntax = renderer.answer_syntax("", split_reasoning=True)
    completion = generate.complete([request], syntaxes=[syntax])[0]
    assert (completion.text, completion.reasoning) == ("b <tool_call>", "a")


@pytest.mark.parametrize(
    ("template", "prompt", "continues", "expected"),
    [
        ("<think>", "<|im_start|>assistant\n<think>\n", False, True),
        ("<think>", "What is <think>?<|im_end|>\n<|im_start|>assistant\n", False, False),
        ("<think>", "assistant\n<think>\n\n</think>\n\n", False, False),
        ("<think>", "assistant\n<think>\nThe user", True, True),
        ("<think>", "assistant\n<think>\nHm</think>So", True, False),
        ("<|start|><|channel|><|message|>", "<|start|>assistant", False, False),
        ("<|start|><|channel|><|message|>", "<|start|>assistant<|channel|>analysis<|message|>We", True, True),
        (
            "<|start|><|channel|><|message|>",
            "<|channel|>analysis<|message|>We<|end|><|start|>assistant",
            False,
            False,
        ),
    ],
)
def test_the_prompt_shows_whether_reasoning_has_begun(
    template: str,
    prompt: str,
    continues: bool,  # noqa: FBT001
    expected: bool,  # noqa: FBT001
) -> None:
    syntax = answer_syntax(template, prompt, None, continues=continues)
    assert syntax is not None
    assert syntax.in_reasoning is expected


def test_functions_that_cannot_be_called_are_refused_before_any_work() -> None:
    async def later(city: str) -> str:
        """Wait.

        Args:
            city: Where.
        """
        return city

    with pytest.raises(InvalidArgument, match=r"tools\[0\] must be a function that is not async"):
        Talk(tools=[later])
    with pytest.raises(InvalidArgument, match="tools of different names"):
        Talk(tools=[temperature, temperature])


def test_arguments_have_the_types_of_the_hints() -> None:
    seen: list[Any] = []

    def tool(
        pair: tuple[int, Unit],
        units: list[Unit],
        size: float,
        mode: Literal["a", "b"],
        none: int | None = None,
    ) -> None:
        """Do something.

        Args:
            pair: A pair.
            units: Some units.
            size: A size.
            mode: A mode.
            none: Nothing.
        """
        seen.append((pair, units, size, mode, none))

    arguments = {"pair": [1, "kelvin"], "units": ["celsius"], "size": 2, "mode": "a", "none": None}
    tools = PythonTools.from_tools([tool], TemplateOptions(tools=[tool]).tools)
    assert tools.run(ToolCall("1", "tool", arguments, "")).content == "null"
    assert seen == [((1, Unit.KELVIN), [Unit.CELSIUS], 2.0, "a", None)]
    assert isinstance(seen[0][2], float)
    wrong = tools.run(ToolCall("1", "tool", {**arguments, "pair": [1], "units": ["x"], "mode": 1}, "")).text
    assert "'pair' must have 2 items" in wrong
    assert "'units[0]' must be one of" in wrong
    assert "'mode' must be string" in wrong


@pytest.mark.parametrize(
    ("result", "text"), [("é", "é"), ({"é": (1, None)}, '{"é": [1, null]}'), (True, "true"), ({1}, "{1}")]
)
def test_results_are_text(result: object, text: str) -> None:
    assert result_text(result) == text
