"""Tests of `adapter=` of an `LLM`, and of the errors of adapters that a request cannot name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litgpt import LLM
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from tests.adapters.tiny_models import tiny_folder
from tests.agreement.test_native_lora import placed
from tests.agreement.test_request_adapters import (
    ENGINES,
    answers,
    assert_same,
    request,
    save_adapters,
    with_adapters,
)
from tests.architecture.repository import ROOT


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_adapters(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(params=ENGINES)
def llm(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Iterator[LLM]:
    llm = with_adapters(request.param, folders)
    yield llm
    llm.close()


def test_unknown_names_are_refused_before_anything_is_computed(llm: LLM) -> None:
    for prompts in ("abc", ["abc", "def"]):
        with pytest.raises(InvalidArgument, match=r"adapter must be one of 'a', 'b', 'c', not 'd'"):
            llm.generate(prompts, adapter="d", stream=True)
    with pytest.raises(InvalidArgument, match=r"adapter must be one of 'a', 'b', 'c', not 'd'"):
        llm.complete("abc", adapter="d", prompt_logprobs=0)


@pytest.mark.parametrize("count", [0, 3])
def test_log_probabilities_of_prompts_are_those_of_the_adapter(llm: LLM, count: int) -> None:
    options: dict[str, Any] = {"max_new_tokens": 1, "prompt_logprobs": count}
    prompts = ["abcdefgh", "abcdef"]
    base: Any = llm.complete(prompts, **options)
    named: Any = llm.complete(prompts, adapter="a", **options)
    again: Any = llm.complete(prompts, **options)
    llm.set_adapter("a")
    active: Any = llm.complete(prompts, **options)
    for of_name, of_active, of_base, later in zip(named, active, base, again, strict=True):
        logprobs = of_name.prompt_logprobs, of_active.prompt_logprobs
        assert len(logprobs[0][1]) >= max(count, 1)
        for own, expected in zip(logprobs[0][1:], logprobs[1][1:], strict=True):
            assert own == pytest.approx(expected, abs=1e-5)
        assert of_base.prompt_logprobs == later.prompt_logprobs != of_name.prompt_logprobs


def test_a_model_without_adapters_says_so() -> None:
    for engine in ENGINES:
        with pytest.raises(InvalidArgument, match="adapter must be omitted, as the model has no adapters"):
            placed(tiny_folder("llama"), engine).generate("abc", adapter="a")


def test_generate_complete_and_chat_take_the_name_of_an_adapter(llm: LLM) -> None:
    options: dict[str, Any] = {"temperature": 0, "max_new_tokens": 8}
    got = [
        llm.generate("abc", adapter="a", **options),
        llm.complete("abc", adapter="a", **options).text,
        "".join(llm.generate("abc", adapter="a", stream=True, **options)),
        llm.generate(["abc", "def"], adapter="a", **options)[0],
    ]
    chat = llm.chat(adapter="a", **options)
    said = chat.send("abc")
    base = llm.generate("abc", **options)
    llm.set_adapter("a")
    assert got == [llm.generate("abc", **options)] * 4
    assert said == llm.chat(**options).send("abc")
    assert base not in got


def test_the_native_engine_refuses_adapters_that_change_more_than_linear_layers(
    folders: dict[str, Path],
) -> None:
    llm = placed(tiny_folder("llama"), "native")
    for name in ("a", "embedding"):
        llm.load_adapter(folders[name], name)
    embedding = answers(llm._generator(), request(None), request("embedding"))
    assert_same(*embedding, exact=True)  # it is active
    with pytest.raises(UnsupportedOperation, match=r"the active adapter changes more .* set_adapter\(None\)"):
        llm.generate("abc", adapter="a")
    llm.set_adapter(None)
    with pytest.raises(UnsupportedOperation, match=r"wte.weight.*all requests with set_adapter\(\)"):
        llm.generate("abc", adapter="embedding")
    llm.generate("abc", adapter="a")


def test_the_torch_engine_computes_all_kinds_of_adapters(folders: dict[str, Path]) -> None:
    llm = placed(tiny_folder("llama"), "torch")
    for name in ("a", "embedding"):
        llm.load_adapter(folders[name], name)
    active, other = answers(llm._generator(), request(None), request("a"))
    llm.set_adapter("a")
    again = answers(llm._generator(), request(None), request("embedding"))
    for actual, expected in zip((other, active), again, strict=True):
        assert_same(actual, expected, exact=False)


def test_requests_cannot_name_an_adapter_while_one_is_merged(folders: dict[str, Path]) -> None:
    llm = placed(tiny_folder("llama"), "torch")
    for name in ("b", "a"):
        llm.load_adapter(folders[name], name)
    (before,) = answers(llm._generator(), request("b"))
    llm.merge_adapter()
    with pytest.raises(UnsupportedOperation, match=r"'a' is merged\. Call unmerge_adapter\(\)"):
        llm.generate("abc", adapter="b")
    llm.unmerge_adapter()
    (after,) = answers(llm._generator(), request("b"))
    assert_same(after, before, exact=False)


def test_the_documented_example_runs(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    example = re.search(r"^<!-- run -->\n```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    assert example is not None
    model = tiny_folder("llama")
    for name, path in {"smollm2": model, "out/adapter": folders["a"], "other/adapter": folders["b"]}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"LLM": LLM}
    exec(example[1].replace('"smollm2"', '"./smollm2"'), names)  # noqa: S102 - of this repository
    assert names["llm"].adapters == ("mine", "other")
    assert isinstance(names["chat"].send("Hello"), str)
