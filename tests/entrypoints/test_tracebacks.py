"""Tests of tracebacks: errors that the user can fix end at the user's own line."""

import inspect
import traceback
from collections.abc import Callable

import pytest

from litgpt import LLM
from litgpt.domain.errors import InvalidArgument, LitGPTError
from litgpt.training import TrainConfig, train
from tests.adapters.tiny_models import tiny_folder


@pytest.fixture(scope="module")
def llm() -> LLM:
    return LLM.load(tiny_folder("llama"), quiet=True)


@pytest.mark.parametrize(
    "call",
    [
        lambda _: LLM.load("no/such/model", offline=True),
        lambda llm: llm.generate("x", top_k=-1),
        lambda llm: llm.complete(["x", 3]),
        lambda llm: llm.chat().send("x" * 100_000),
        lambda llm: llm.chat(resume="no-such-file"),
        lambda llm: llm.distribute(precision="7-bit"),
        lambda llm: llm.load_adapter("no/such/adapter", "mine"),
        lambda llm: llm.save_adapter("out"),
        lambda _: train(TrainConfig(model="no/such/model", data="no.jsonl", out_dir="no-such-out")),
    ],
)
def test_a_traceback_has_no_line_of_the_library(
    call: Callable[[LLM], object], llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LITGPT_FULL_TRACEBACKS")
    with pytest.raises(LitGPTError) as caught:
        call(llm)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames == ["test_a_traceback_has_no_line_of_the_library", "<lambda>", "called"]
    assert "\nThe above" not in "".join(traceback.format_exception(caught.value))


def test_an_error_keeps_all_lines_on_request(llm: LLM) -> None:
    with pytest.raises(InvalidArgument) as caught:
        llm.generate("x", top_k=-1)
    assert len(traceback.extract_tb(caught.value.__traceback__)) > 5


def test_signatures_and_help_are_those_of_the_functions() -> None:
    assert list(inspect.signature(LLM.load).parameters)[:2] == ["model", "init"]
    assert "top_k" in inspect.signature(LLM.generate).parameters
    assert "Return the model's answer" in (inspect.getdoc(LLM.generate) or "")
