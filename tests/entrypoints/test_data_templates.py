"""Tests of data for chat templates: tool calls, tools and variables in records, and rendered texts."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from transformers import AutoTokenizer

from litgpt import LLM
from litgpt.application.render_prompt import PromptWarning
from litgpt.data import JSON, DataModule
from litgpt.domain.chat.styles import find_style
from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.training.errors import InvalidData
from tests.adapters.recording import LIGHTNINGS_OWN
from tests.entrypoints.templated_model import CALL, templated_folder, weather

pytestmark = LIGHTNINGS_OWN

TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Warm?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "22", "tool_call_id": "1"},
    {"role": "assistant", "content": "It is 22."},
]


class Records(DataModule):
    def __init__(self, records: list[Any], **options: Any) -> None:
        super().__init__(**options)
        self.records = records

    def train_examples(self) -> list[Any]:
        return self.records


@pytest.fixture(scope="module")
def llm() -> LLM:
    return LLM.load(templated_folder(), distribute=None, quiet=True)


@pytest.fixture(scope="module")
def rendered() -> Any:
    tokenizer = AutoTokenizer.from_pretrained(templated_folder())
    return lambda messages, **options: str(tokenizer.apply_chat_template(messages, tokenize=False, **options))


def fed(llm: LLM, module: DataModule) -> list[tuple[str, list[str]]]:
    """Return the text of each example, and its target spans."""
    module.connect(llm.tokenizer)
    module.setup()
    train, _ = module._datasets()
    results = []
    for number in range(len(train)):  # type: ignore[arg-type]
        ids, labels = (train[number][name].tolist() for name in ("input_ids", "labels"))
        stretches: list[list[int]] = [[]]
        for token, label in zip(ids, labels, strict=True):
            if label >= 0:
                stretches[-1].append(token)
            elif stretches[-1]:
                stretches.append([])
        decode = llm.tokenizer.port.decode
        results.append(
            (
                decode(ids, include_special_tokens=True),
                [decode(stretche, include_special_tokens=True) for stretche in stretches if stretche],
            )
        )
    return results


def test_tool_calls_are_trained_on_as_rendered(llm: LLM, rendered: Any) -> None:
    ((text, learned),) = fed(llm, Records([{"messages": TALK, "tools": [CALL]}], mask_prompt=True))
    assert text == rendered(TALK, tools=[CALL]).rstrip()
    assert learned == ['[weather {"city": "Rome"}]<|end|>', "It is 22.<|end|>"]


def test_an_answer_of_only_a_tool_call_is_trained_on(llm: LLM) -> None:
    ((_, learned),) = fed(llm, Records([{"messages": TALK[:2]}], mask_prompt=True))
    assert learned == ['[weather {"city": "Rome"}]<|end|>']


def test_a_records_tools_and_variables_default_to_the_modules(llm: LLM, rendered: Any) -> None:
    records = [
        {"messages": TALK},
        {"messages": TALK, "tools": json.dumps([CALL])},
        {"messages": TALK, "tools": [], "chat_template_kwargs": {"documents": [{"text": "B"}]}},
    ]
    module = Records(records, tools=[weather], chat_template_kwargs={"documents": [{"text": "A"}]})
    a, b = ({"documents": [{"text": letter}]} for letter in "AB")
    expected = [
        rendered(TALK, tools=[weather], **a),
        rendered(TALK, tools=[CALL], **a),
        rendered(TALK, tools=[], **b),
    ]
    assert [text for text, _ in fed(llm, module)] == [value.rstrip() for value in expected]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_the_same_records_are_read_from_every_kind_of_file(
    llm: LLM, rendered: Any, tmp_path: Path, suffix: str
) -> None:
    records = [{"messages": TALK, "tools": [CALL]}, {"messages": TALK[:1] + TALK[3:], "tools": [CALL]}]
    path = tmp_path / f"data{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(records), path)
    else:
        lines = [json.dumps(record) for record in records]
        path.write_text("\n".join(lines) if suffix == ".jsonl" else f"[{','.join(lines)}]", encoding="utf-8")
    expected = [rendered(record["messages"], tools=[CALL]).rstrip() for record in records]
    assert [text for text, _ in fed(llm, JSON(path))] == expected


def test_rendered_data_are_used_unchanged(llm: LLM, rendered: Any) -> None:
    prompt, whole = rendered(TALK[:1], add_generation_prompt=True), rendered(TALK[:1] + TALK[3:]).rstrip()
    pair = {"prompt": prompt, "completion": "It is 22."}
    options = {"apply_chat_template": False, "mask_prompt": True}
    assert fed(llm, Records([pair, {"text": whole}], **options)) == [
        (whole, ["It is 22.<|end|>"]),
        (whole, [whole.removeprefix("<|begin|>")]),  # the first token is not predicted from anything
    ]


def test_rendering_rendered_data_warns(llm: LLM, rendered: Any) -> None:
    pair = {"prompt": rendered(TALK[:1], add_generation_prompt=True), "completion": "It is 22."}
    with pytest.warns(PromptWarning, match="apply_chat_template=False"):
        fed(llm, Records([pair]))


def test_the_style_that_was_set_is_trained(llm: LLM) -> None:
    llm.prompt_style = "alpaca"
    try:
        module = Records([{"prompt": "Name a bird.", "completion": "A crane."}])
        assert "Below is an instruction" in fed(llm, module)[0][0]
        assert module.prompt_style == find_style("alpaca")
        with pytest.raises(InvalidData, match=r"example 1 .*tools need a chat template"):
            fed(llm, Records([{"messages": TALK, "tools": [CALL]}]))
        llm.prompt_style = "default"
        assert fed(llm, module)[0][0] == "<|begin|>Name a bird.A crane.<|end|>"
    finally:
        llm.prompt_style = None
    assert fed(llm, module)[0][0].startswith("<|begin|>user\nName")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"apply_chat_template": None}, WrongType),
        ({"apply_chat_template": False, "prompt_style": "alpaca"}, InvalidArgument),
        ({"tools": [3]}, WrongType),
        ({"chat_template_kwargs": {"messages": []}}, InvalidArgument),
    ],
)
def test_invalid_options_are_refused_at_once(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Records([], **options)
