"""Tests of batches: lines, their answers and errors, in memory."""

import gc
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from litgpt.adapters.constraints.llguidance_compiler import LlguidanceCompiler
from litgpt.application.batch.lines import BatchLine
from litgpt.application.batch.run_batch import RunBatch
from litgpt.application.batch.shard import Shard
from litgpt.application.concurrency.shared_engine import EngineStream, SharedEngine
from litgpt.application.files.id_set import IdSet
from litgpt.application.files.json_lines import count_lines
from litgpt.application.load_model import LoadedModel, LoadModel
from litgpt.domain.generation.batching import checked_requests
from litgpt.domain.generation.errors import AllTokensExcluded
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.reference import ModelReference
from litgpt.domain.scheduling.engine import Engine
from litgpt.testing import MemoryCheckpoint, MemoryStore, MemoryTensor, ScriptedGenerator, open_byte_tokenizer
from tests.contracts.distribution_strategy import CONFIG, shapes
from tests.domain.scripted_runner import ScriptedRunner


@pytest.fixture(scope="module")
def loaded() -> LoadedModel[Any]:
    model = MemoryCheckpoint(
        CONFIG | {"vocab_size": 300, "max_position_embeddings": 200},
        {
            name: MemoryTensor(tuple(300 if size == 100 else size for size in shape))
            for name, shape in shapes().items()
        },
    )
    return LoadModel(MemoryStore({"tiny": model}), open_byte_tokenizer)(ModelReference("tiny"))


def ids(*names: str | int) -> IdSet:
    some = IdSet()
    for name in names:
        some.add(name)
    return some


def lines(*values: object) -> list[BatchLine]:
    return [
        BatchLine.parse(number, value if isinstance(value, bytes) else json.dumps(value).encode())
        for number, value in enumerate(values, 1)
    ]


def answers(loaded: LoadedModel[Any], *values: object, **options: Any) -> list[dict[str, Any]]:
    written: list[Any] = []
    run = RunBatch(loaded, ScriptedGenerator(b"yes ", 200), written.append, LlguidanceCompiler(), **options)
    list(run(lines(*values)))
    return sorted(written, key=lambda it: str(it.get("custom_id", it["id"])))


def body(**more: object) -> dict[str, Any]:
    return {"model": "any", "messages": [{"role": "user", "content": "Hi"}], **more}


def openai(url: str = "/v1/chat/completions", **fields: object) -> dict[str, Any]:
    return {"custom_id": "it", "method": "POST", "url": url, "body": fields}


def test_plain_lines_get_plain_answers(loaded: LoadedModel[Any]) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    first, second, third = answers(
        loaded,
        {"id": "a", "prompt": "Hello", "max_new_tokens": 3},
        {"custom_id": "b", "messages": messages, "max_tokens": 8, "stop": " "},
        {"prompt": "Hello", "n": 2, "max_completion_tokens": 4},
    )
    length = first["prompt_tokens"]
    assert first == {
        "id": "a",
        "text": "yes",
        "finish_reason": "length",
        "prompt_tokens": length,
        "completion_tokens": 3,
        "cached_tokens": 0,
    }
    assert (second["id"], second["text"], second["finish_reason"]) == ("b", "yes", "stop")
    assert (third["id"], third["text"], third["completion_tokens"]) == ("line-3", ["yes ", "yes "], 8)


def test_openai_lines_get_the_answers_of_its_api(loaded: LoadedModel[Any]) -> None:
    (line,) = answers(loaded, openai(**body(max_completion_tokens=3, n=2, logprobs=True, user="u")))
    assert (line["custom_id"], line["error"]) == ("it", None)
    assert line["response"]["status_code"] == 200
    reply = line["response"]["body"]
    assert (reply["object"], reply["model"]) == ("chat.completion", "tiny")
    assert [choice["index"] for choice in reply["choices"]] == [0, 1]
    choice = reply["choices"][1]
    assert choice["message"] == {"role": "assistant", "content": "yes", "refusal": None}
    assert choice["finish_reason"] == "length"
    spelled = {"token": "y", "logprob": -1.0, "bytes": [121], "top_logprobs": []}
    assert choice["logprobs"]["content"][0] == spelled
    usage = reply["usage"]
    assert (usage["completion_tokens"], usage["total_tokens"]) == (6, usage["prompt_tokens"] + 6)


def test_openai_completions_are_not_rendered_and_have_their_own_defaults(loaded: LoadedModel[Any]) -> None:
    (line,) = answers(loaded, openai("/v1/completions", prompt="abc", logprobs=1, stop=None))
    reply = line["response"]["body"]
    assert (reply["object"], reply["usage"]["prompt_tokens"]) == ("text_completion", 3)
    assert reply["choices"][0]["text"] == "yes yes yes yes "
    assert reply["choices"][0]["logprobs"]["text_offset"][:3] == [0, 1, 2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{bad", "The line is not valid JSON"),
        (b"[1]", "The line must be a JSON object, not [1]."),
        (b"\xff{}", "The line is not valid JSON"),
        ({"prompt": "a", "temprature": 1}, "'temprature' is not supported. Did you mean temperature?"),
        (
            {"prompt": "a", "logits_processor": 1},
            "'logits_processor' is not supported. Remove it, or call LLM.complete in Python",
        ),
        (openai(**body(prompt_logprobs=1)), "'prompt_logprobs' is not supported"),
        ({"id": "it"}, "must have either a prompt or messages"),
        ({"prompt": "a", "messages": []}, "must have either a prompt or messages"),
        ({"prompt": ["a"]}, "prompt must be a string, not list"),
        ({"prompt": ""}, "prompt must be a non-empty string"),
        ({"prompt": "a", "temperature": "hot"}, "temperature must be"),
        ({"prompt": "a", "max_tokens": -1}, "max_new_tokens must be"),
        ({"prompt": "a", "max_tokens": 1, "max_new_tokens": 1}, "are the same option"),
        ({"prompt": "a", "n": 0}, "n must be a positive integer"),
        ({"prompt": "a", "n": 10**9}, "n must be at most 128"),
        ({"prompt": 300 * "a"}, "The prompt has 3"),
        ({"prompt": "a", "logit_bias": {"x": 1}}, "logit_bias must be"),
        ({"id": [1], "prompt": "a"}, "The id must be a string or an integer"),
        (openai(**body(stream=True)), "stream must be false"),
        (openai(**body(response_format="json")), "response_format must be an object"),
        (openai(**body(response_format={"type": "xml"})), "response_format.type must be text, json_object"),
        (openai(**body(response_format={"type": "json_schema"})), "response_format.json_schema.schema"),
        (openai(**body(regex="a", response_format={"type": "text"})), "null with response_format"),
        (openai(**body(audio={})), "The field 'audio' is not supported"),
        (openai(**body(prompt="a")), "The field 'prompt' is not supported"),
        (openai("/v1/embeddings", input="a"), "url must be /v1/chat/completions or /v1/completions"),
        (openai(), "Missing messages"),
        ({"custom_id": "a", "url": "/v1/completions"}, "body must be a JSON object"),
    ],
    ids=lambda value: None if isinstance(value, str) else json.dumps(value, default=str)[:60],
)
def test_a_bad_line_becomes_an_error_and_the_others_are_answered(
    loaded: LoadedModel[Any], line: object, message: str
) -> None:
    good = {"id": "zz", "prompt": "Hello"}
    bad, answer = answers(loaded, line, good)
    assert answer["id"] == "zz"
    assert "text" in answer
    assert message in bad["error"]["message"]
    assert bad["error"]["line"] == 1
    if isinstance(line, dict) and "url" in line:
        assert (bad["custom_id"], bad["response"]) == (line["custom_id"], None)


def test_options_of_the_command_apply_where_a_line_has_none(loaded: LoadedModel[Any]) -> None:
    plain, short, reply = answers(
        loaded,
        {"id": "a", "prompt": "Hello"},
        {"id": "b", "prompt": "Hello", "max_tokens": 2},
        openai(**body()),
        defaults={"max_new_tokens": 5},
        sys_prompt="Be brief.",
    )
    assert (plain["completion_tokens"], short["completion_tokens"]) == (5, 2)
    assert reply["response"]["body"]["usage"]["completion_tokens"] == 5
    assert plain["prompt_tokens"] > answers(loaded, {"prompt": "Hello"})[0]["prompt_tokens"]


def test_lines_that_are_done_or_repeated_are_skipped(loaded: LoadedModel[Any]) -> None:
    written: list[Any] = []
    run = RunBatch(
        loaded, ScriptedGenerator(b"yes"), written.append, LlguidanceCompiler(), ids("a", "line-3")
    )
    list(
        run(
            lines({"id": "a", "prompt": "x"}, {"id": "b", "prompt": "x"}, b"{bad", {"id": "b", "prompt": "y"})
        )
    )
    assert [it["id"] for it in written] == ["b"]
    assert (run.counts.done, run.counts.skipped, run.counts.repeated) == (1, 2, 1)


def test_ids_of_different_types_are_different(loaded: LoadedModel[Any]) -> None:
    results = answers(loaded, *({"id": name, "prompt": "x"} for name in (1, "1", "line-1", 1, -1, "")))
    assert sorted((it["id"] for it in results), key=repr) == ["", "1", "line-1", -1, 1]


def test_answers_come_while_further_lines_are_awaited(loaded: LoadedModel[Any]) -> None:
    written: list[Any] = []
    run = RunBatch(loaded, EngineGenerator(), written.append, LlguidanceCompiler())

    def conversation() -> Iterator[BatchLine | None]:
        for number, line in enumerate(RawLines(3), 1):
            yield line
            while len(written) < number:
                yield None
        while run.is_answering:
            yield None

    list(run(conversation()))
    assert [it["id"] for it in written] == ["line-1", "line-2", "line-3"]
    assert run.counts.completion_tokens == 6


class FailingRunner(ScriptedRunner):
    """Excludes all tokens of prompts that end with an exclamation mark, as a failure of one request."""

    def sampler_state(self, request: GenerationRequest) -> SamplerState:
        return SamplerState(request.sampling_params, lambda: 0, request.prompt)

    def sample(self, logits: Any, rows: Any, states: Any) -> list[int]:
        if any(state.prompt[-1] == ord("!") for state in states):
            raise AllTokensExcluded
        return super().sample(logits, rows, states)


@attrs.define
class EngineGenerator(ScriptedGenerator):
    """Generates with an engine that several requests share."""

    script: Any = b""
    runner: ScriptedRunner = attrs.field(factory=ScriptedRunner)

    def generate(self, requests: Iterable[GenerationRequest | None]) -> EngineStream:
        requests = checked_requests(requests, self.context, 300)
        return EngineStream(SharedEngine(Engine(self.runner, self.context)), requests)


@attrs.define
class RawLines:
    """Prompts without a template, so that their last character is that of the line."""

    count: int
    failing: frozenset[int] = frozenset()

    def __iter__(self) -> Iterator[BatchLine]:
        for number in range(1, self.count + 1):
            text = f"{number}{'!' if number in self.failing else '.'}"
            line = {"prompt": text, "max_tokens": 2, "temperature": 0, "apply_chat_template": False}
            yield BatchLine.parse(number, json.dumps(line).encode())


def test_a_request_that_fails_while_it_is_computed_becomes_an_error(loaded: LoadedModel[Any]) -> None:
    written: list[Mapping[str, Any]] = []
    run = RunBatch(loaded, EngineGenerator(runner=FailingRunner()), written.append, LlguidanceCompiler())
    list(run(RawLines(300, frozenset({7, 250}))))
    assert sorted(str(it["id"]) for it in written) == sorted(f"line-{number}" for number in range(1, 301))
    assert {it["id"] for it in written if "error" in it} == {"line-7", "line-250"}
    assert (run.counts.done, run.counts.errors) == (298, 2)
    assert run.counts.completion_tokens == 298 * 2  # those that were computed twice are counted once


@pytest.mark.parametrize("count", [10_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_many_lines_need_no_more_memory_than_the_first_ones(loaded: LoadedModel[Any], count: int) -> None:
    generator = ScriptedGenerator(b"yes", 200)
    run = RunBatch(loaded, generator, lambda _: None, LlguidanceCompiler())
    objects: dict[int, int] = {}
    for counts in run(RawLines(count)):
        generator.requests.clear()
        if counts.done in (2_000, count - 1_000) and counts.done not in objects:
            gc.collect()
            objects[counts.done] = len(gc.get_objects())  # not the ids: strings are not tracked
    assert counts.done == count
    assert abs(objects[count - 1_000] - objects[2_000]) < 5_000  # those of 256 running requests


@pytest.mark.parametrize("n", [None, 2])
def test_log_probabilities_of_a_prompt_are_in_the_answer(loaded: LoadedModel[Any], n: int | None) -> None:
    line = {"prompt": "ab", "apply_chat_template": False, "prompt_logprobs": 0, "max_new_tokens": 1}
    (answer,) = answers(loaded, line if n is None else line | {"n": n})
    (first, second) = answer["prompt_logprobs"] if n is None else answer["prompt_logprobs"][1]
    assert first is None
    assert list(second) == [ord("b")]
    assert second[ord("b")] <= 0


def test_a_line_with_a_lone_surrogate_keeps_its_id(loaded: LoadedModel[Any]) -> None:
    raw = [
        b'{"id": "mine", "prompt": "\\ud800"}',
        b'{"custom_id": "other", "url": "/v1/completions", "body": {"prompt": "\\udfff"}}',
        b'{"id": "\\ud800", "prompt": "a"}',
    ]
    found = lines(*raw)
    assert [it.id for it in found] == ["mine", "other", "line-3"]
    assert all("surrogates not allowed" in str(it.error) for it in found)
    assert [it.is_openai for it in found] == [False, True, False]
    assert len(answers(loaded, *raw)) == 3


def test_blank_lines_and_those_of_other_shards_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n\n  \n{"prompt": "b"}\n\r\n{"prompt": "c"}')
    with path.open("rb") as file:
        assert count_lines(file, Shard().has) == 3
        assert file.read(1) == b"{"
        file.seek(0)
        assert [count_lines(file, Shard(rank, 2).has) for rank in range(2)] == [1, 2]
