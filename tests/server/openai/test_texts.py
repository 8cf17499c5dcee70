"""Embeddings, scores, ranks, tokens and `/predict` over HTTP."""

import json
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from litgpt import LLM
from litgpt.domain.errors import InvalidArgument
from litgpt.server.api.predict import PredictRoute
from litgpt.server.app import create_app
from litgpt.server.run import RunningServer, start_in_thread
from litgpt.server.settings import ServerSettings
from tests.server.openai.conftest import NAME
from tests.server.openai.strict import check

TEXTS = ["The cat sat on the mat.", "Un chat", "1 2 3"]
QUESTION: Any = [{"role": "user", "content": "What is the capital of France? <|im_end|>"}]


def post(server: RunningServer, path: str, body: dict[str, Any]) -> Any:
    with _connection(server) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return json.load(connection.getresponse())


def _connection(server: RunningServer) -> "closing[HTTPConnection]":
    return closing(HTTPConnection("127.0.0.1", urlsplit(server.url).port or 0, timeout=300))


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_embeddings_are_those_of_the_library(client: OpenAI, llm: LLM, encoding: Any) -> None:
    options = {} if encoding is None else {"encoding_format": encoding}
    answer = client.embeddings.create(model=NAME, input=TEXTS, **options)
    expected = llm.embed(TEXTS)
    if encoding != "base64":  # which the client decodes only if it has asked for it itself
        check(answer)
        got: list[Any] = [it.embedding for it in answer.data]
    else:
        got = [np.frombuffer(b64decode(str(it.embedding)), np.float32) for it in answer.data]
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert [it.index for it in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == sum(len(llm.tokenizer.encode(text)) for text in TEXTS)


def test_token_ids_are_embedded(client: OpenAI, llm: LLM) -> None:
    ids = [llm.tokenizer.encode(text).tolist() for text in TEXTS]
    several = client.embeddings.create(model=NAME, input=ids, extra_body={"pooling": "mean"})
    np.testing.assert_allclose(
        [it.embedding for it in several.data], llm.embed(TEXTS, pooling="mean"), atol=1e-4
    )
    one = client.embeddings.create(model=NAME, input=ids[0])
    np.testing.assert_allclose(one.data[0].embedding, llm.embed(TEXTS[0])[0], atol=1e-4)


def test_embeddings_are_computed_beside_answers(client: OpenAI) -> None:
    options: Any = {
        "model": NAME,
        "messages": [{"role": "user", "content": "Tell me a story."}],
        "temperature": 0,
        "max_tokens": 48,
    }
    alone = client.chat.completions.create(**options).choices[0].message.content
    with ThreadPoolExecutor(4) as pool:
        answer = pool.submit(lambda: client.chat.completions.create(**options))
        rows = list(pool.map(lambda text: client.embeddings.create(model=NAME, input=text), TEXTS * 4))
    assert answer.result().choices[0].message.content == alone
    assert rows[0].data[0].embedding == rows[3].data[0].embedding


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("input", "", "input[0]"),
        ("input", [], "input"),
        ("input", ["a", ""], "input[1]"),
        ("input", [[1], [50_000_000]], "input[1]"),
        ("input", [[]], "input[0]"),
        ("input", ["a", 1], "input[1]"),
        ("input", ["a"] * 2049, "input"),
        ("input", {"text": "a"}, "input"),
        ("dimensions", 256, "dimensions"),
        ("encoding_format", "int8", "encoding_format"),
        ("pooling", "max", "pooling"),
    ],
)
def test_wrong_inputs_of_embeddings_are_refused(client: OpenAI, field: str, value: Any, param: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        client.post("/embeddings", body={"input": "a", field: value}, cast_to=object)
    assert raised.value.param == param


def test_too_long_and_too_many_texts_are_refused(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="8192") as raised:
        client.embeddings.create(model=NAME, input="word " * 9000)
    assert raised.value.code == "context_length_exceeded"
    assert raised.value.param == "input"
    assert "LLM." not in raised.value.message
    with pytest.raises(BadRequestError, match="in several requests"):
        client.embeddings.create(model=NAME, input=[[5] * 8000] * 40)
    with pytest.raises(NotFoundError):
        client.embeddings.create(model="other", input="a")


def test_scores_are_those_of_the_library(server: RunningServer, llm: LLM) -> None:
    prompt, endings = "The capital of France is", [" Paris", " Rome and Paris"]
    answer = post(server, "/v1/score", {"model": NAME, "prompt": prompt, "continuations": endings})
    expected = llm.score(prompt, endings)
    assert [it["score"] for it in answer["data"]] == pytest.approx([it.logprob for it in expected], abs=1e-4)
    assert [it["is_greedy"] for it in answer["data"]] == [it.is_greedy for it in expected]
    assert [tuple(it["token_ids"]) for it in answer["data"]] == [it.token_ids for it in expected]
    pairs = post(server, "/v1/score", {"text_1": prompt, "text_2": endings})
    assert [it["score"] for it in pairs["data"]] == [it["score"] for it in answer["data"]]
    lists = post(server, "/v1/score", {"prompt": [prompt, "1 2 3"], "continuations": [endings, [" 4"]]})
    assert [it["prompt_index"] for it in lists["data"]] == [0, 0, 1]
    assert lists["data"][2]["is_greedy"]


def test_documents_are_ranked(server: RunningServer, llm: LLM) -> None:
    documents = ["The car is fast.", "Bread and cheese", "Pizza is Italian food."]
    body: dict[str, Any] = {"query": "Italian food", "documents": documents}
    for method in ("cosine", "yes_no"):
        answer = post(server, "/v1/rerank", {**body, "method": method, "top_n": 2})
        expected = llm.rerank("Italian food", documents, top_n=2, method=method)
        assert [it["index"] for it in answer["results"]] == [it.index for it in expected]
        scores = [it["relevance_score"] for it in answer["results"]]
        assert scores == pytest.approx([it.score for it in expected], abs=1e-3)
        assert answer["results"][0]["document"]["text"] == documents[expected[0].index]


def test_texts_are_tokenized_and_back(server: RunningServer, llm: LLM) -> None:
    text = "Grüße <|im_end|>"
    answer = post(server, "/tokenize", {"model": NAME, "content": text, "pieces": True})
    assert answer["tokens"] == llm.tokenizer.encode(text).tolist()
    assert answer["count"] == len(answer["tokens"]) == len(answer["pieces"])
    assert post(server, "/detokenize", {"tokens": answer["tokens"]}) == {"content": text}


def test_a_conversation_is_tokenized_as_it_is_answered(server: RunningServer, client: OpenAI) -> None:
    answer = post(server, "/tokenize", {"messages": QUESTION})
    usage = client.chat.completions.create(model=NAME, messages=QUESTION, max_tokens=1).usage
    assert usage is not None
    assert answer["count"] == usage.prompt_tokens
    prompt = post(server, "/apply-template", {"messages": QUESTION})["prompt"]
    assert prompt.endswith("France? <|im_end|><|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "content"),
        ("/tokenize", {"content": "a", "messages": QUESTION}, "content"),
        ("/tokenize", {"content": 1}, "content"),
        ("/tokenize", {"content": "a", "tools": []}, "tools"),
        ("/tokenize", {"content": "a", "peices": True}, "peices"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
        ("/detokenize", {"tokens": [10**9]}, "tokens"),
        ("/detokenize", {}, "tokens"),
        ("/apply-template", {"messages": "a"}, "messages"),
        ("/v1/score", {"prompt": "a", "text_1": "b", "text_2": "c"}, "prompt"),
        ("/v1/score", {"prompt": "a", "continuations": []}, "continuations"),
        ("/v1/score", {"text_1": ["a", "b"], "text_2": ["c"]}, "text_2"),
        ("/v1/rerank", {"query": "a", "documents": [{"txt": "b"}]}, "documents[0]"),
        ("/v1/rerank", {"query": "", "documents": ["b"]}, "query"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "top_n": 0}, "top_n"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "instruction": "c"}, "instruction"),
        ("/predict", {}, "prompt"),
        ("/predict", {"prompt": ""}, "prompt"),
        ("/predict", {"prompt": "a", "temperature": "hot"}, "temperature"),
        ("/predict", {"prompt": "a", "stream": True}, "stream"),
    ],
)
def test_wrong_requests_are_refused_by_name(
    client: OpenAI, server: RunningServer, path: str, body: Any, param: str
) -> None:
    with pytest.raises(BadRequestError) as raised:
        client.post(server.url + path, body=body, cast_to=object)
    assert raised.value.param == param


def test_a_prediction_is_that_of_the_library(server: RunningServer, llm: LLM) -> None:
    prompt = "What is the capital of France?"
    answer = post(server, "/predict", {"prompt": prompt, "temperature": 0, "max_new_tokens": 12})
    assert answer == {"output": llm.generate(prompt, temperature=0, max_new_tokens=12)}


def test_predictions_stream_on_a_path_of_their_own(llm: LLM) -> None:
    settings = ServerSettings(port=0)
    predict = PredictRoute(path="/api/predict", stream=True, options={"max_new_tokens": 12})
    app = create_app(llm._served_model(NAME), settings, predict=predict)
    body = json.dumps({"prompt": "What is the capital of France?", "temperature": 0})
    with (
        start_in_thread(app, settings, engine=app.state.litgpt) as server,
        _connection(server) as connection,
    ):
        connection.request("POST", "/api/predict", body, {"Content-Type": "application/json"})
        pieces = [json.loads(line) for line in connection.getresponse()]
    assert len(pieces) > 1
    expected = llm.generate("What is the capital of France?", temperature=0, max_new_tokens=12)
    assert "".join(piece["output"] for piece in pieces) == expected


@pytest.mark.parametrize("path", ["predict", "/v1/predict", "/{x}", "/", "/a b", ""])
def test_a_path_that_is_not_one_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match="path"):
        PredictRoute(path=path)
