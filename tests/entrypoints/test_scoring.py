"""Tests of scoring, perplexity and embeddings with SmolLM2, against transformers, and of bad input."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from litgpt import LLM
from litgpt.application.scoring.rerank import SYSTEM_MESSAGE
from litgpt.domain.chat.messages import Message
from litgpt.errors import InvalidArgument, NotDistributed, PromptTooLong, TextTooLong, WrongType
from tests.adapters.tiny_models import tiny_folder
from tests.architecture.repository import ROOT

EXAMPLES = "Question: Is ice cold?\nAnswer: yes\n\nQuestion: Is fire cold?\nAnswer: no\n\n" * 2
PROMPTS = [
    f"{EXAMPLES}Question: Is snow warm?\nAnswer:",
    f"{EXAMPLES}Question: ",
    "The capital of France is ",
    "",
]
CONTINUATIONS = [
    [" no", " yes, of course it is"],
    ["Is", "Why is the sky so blue?"],
    ["Paris"],
    ["Hello", "1"],
]
TEXTS = ["The sky is blue.", "Hi", "né 🦙 " * 12, EXAMPLES]


@pytest.fixture(scope="module", params=["native", "torch"])
def llm(request: Any, smollm2_folder: Path) -> Iterator[LLM]:
    with LLM.load(smollm2_folder, distribute=None, quiet=True) as loaded:
        loaded.distribute(accelerator="cpu", precision="32-true", engine=request.param)
        yield loaded


@pytest.fixture(scope="module")
def reference(smollm2_folder: Path) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder)
    return AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32), tokenizer


def token_logprobs(reference: Any, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probabilities (T - 1) of the tokens after the first, and whether they are greedy."""
    tokens = torch.tensor(ids)
    with torch.inference_mode():
        logits = reference[0](tokens[None]).logits[0, :-1]
    return logits.log_softmax(-1).gather(1, tokens[1:, None])[:, 0], logits.argmax(-1) == tokens[1:]


def test_scores_are_those_of_lm_eval_with_transformers(llm: LLM, reference: Any) -> None:
    tokenizer = reference[1]
    for prompt, continuations, scores in zip(
        PROMPTS, CONTINUATIONS, llm.score(PROMPTS, CONTINUATIONS), strict=True
    ):
        for continuation, score in zip(continuations, scores, strict=True):
            context = prompt.rstrip()
            whole = tokenizer(prompt + continuation)["input_ids"]
            start = len(tokenizer(context)["input_ids"])
            if not context:
                whole, start = [tokenizer.bos_token_id, *whole], 1
            logprobs, is_greedy = token_logprobs(reference, whole)
            assert score.token_ids == tuple(whole[start:])
            assert score.logprobs == pytest.approx(logprobs[start - 1 :].tolist(), abs=1e-4)
            assert score.logprob == pytest.approx(float(logprobs[start - 1 :].sum()), abs=1e-3)
            assert score.is_greedy == bool(is_greedy[start - 1 :].all())


def test_a_greedy_answer_is_greedy(llm: LLM) -> None:
    prompt = "The capital of France is"
    answer = llm.complete(prompt, apply_chat_template=False, temperature=0, max_new_tokens=5, logprobs=True)
    right, wrong = llm.score(prompt, [answer.text, f"{answer.text[:-1]}#"])
    assert right.token_ids == answer.token_ids
    assert right.logprobs == pytest.approx(answer.logprobs, abs=1e-4)
    assert (right.is_greedy, wrong.is_greedy) == (True, False)


def test_scores_with_a_shared_prompt_are_those_without(llm: LLM) -> None:
    together = llm.score(PROMPTS, CONTINUATIONS)
    for prompt, continuations, scores in zip(PROMPTS, CONTINUATIONS, together, strict=True):
        for continuation, score in zip(continuations, scores, strict=True):
            (alone,) = llm.score(prompt, [continuation])
            assert alone.logprobs == pytest.approx(score.logprobs, abs=1e-4)


def test_logprobs_of_ragged_texts_are_those_of_transformers(llm: LLM, reference: Any) -> None:
    for text, result in zip(TEXTS, llm.logprobs(TEXTS), strict=True):
        ids = reference[1](text)["input_ids"]
        assert result.token_ids == tuple(ids)
        assert result.logprobs[0] is None
        if len(ids) > 1:
            assert result.logprobs[1:] == pytest.approx(token_logprobs(reference, ids)[0].tolist(), abs=1e-4)
        assert llm.logprobs(text).logprobs == pytest.approx(result.logprobs, abs=1e-4)


def test_the_perplexity_is_that_of_a_plain_computation(llm: LLM, reference: Any, tmp_path: Path) -> None:
    ids = reference[1](EXAMPLES)["input_ids"]
    expected = float(token_logprobs(reference, ids)[0].mean().neg().exp())
    assert llm.perplexity(EXAMPLES) == pytest.approx(expected, rel=1e-4)
    file = tmp_path / "text.txt"
    file.write_text(EXAMPLES, encoding="utf-8")
    assert llm.perplexity(file) == llm.perplexity(EXAMPLES)


@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("stride", [None, 1, 24, 47])
def test_the_perplexity_of_a_long_text_is_that_of_transformers_guide(engine: Any, stride: int | None) -> None:
    from transformers import AutoModelForCausalLM

    folder, text, context = tiny_folder("llama"), "Water is wet. " * 20, 48
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with LLM.load(folder, distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu", precision="32-true", engine=engine, fixed_kv_cache_size=context)
        actual = llm.perplexity(text, stride=stride)
        ids = llm.tokenizer.encode(text)[None]
    total, count, scored = 0.0, 0, 0
    for begin in range(0, ids.shape[1], stride or context // 2):
        end = min(begin + context, ids.shape[1])
        labels = ids[:, begin:end].clone()
        labels[:, : scored - begin if scored else 0] = -100
        num_scored = int((labels[:, 1:] != -100).sum())
        with torch.inference_mode():
            total += float(model(ids[:, begin:end], labels=labels).loss) * num_scored
        count, scored = count + num_scored, end
        if end == ids.shape[1]:
            break
    assert count == ids.shape[1] - 1
    assert actual == pytest.approx(float(torch.tensor(total / count).exp()), rel=1e-4)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_embeddings_are_the_hidden_states_of_transformers(llm: LLM, reference: Any, pooling: Any) -> None:
    embeddings = llm.embed(TEXTS, pooling=pooling)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (len(TEXTS), 576)
    for text, embedding in zip(TEXTS, embeddings, strict=True):
        with torch.inference_mode():
            output = reference[0](**reference[1](text, return_tensors="pt"), output_hidden_states=True)
        hidden = output.hidden_states[-1][0]
        expected = (hidden[-1] if pooling == "last" else hidden.mean(0)).numpy()
        assert np.allclose(llm.embed(text, pooling=pooling, normalize=False)[0], expected, atol=1e-4)
        assert np.allclose(embedding, expected / np.linalg.norm(expected), atol=1e-5)
        assert np.allclose(llm.embed(text, pooling=pooling)[0], embedding, atol=1e-5)


@pytest.mark.parametrize("count", [0, 3])
def test_log_probabilities_of_prompts_are_those_of_transformers(llm: LLM, reference: Any, count: int) -> None:
    prompts = [*TEXTS, EXAMPLES + "Question:"]
    options: dict[str, Any] = {"max_new_tokens": 3, "top_k": 1, "apply_chat_template": False}
    plain = llm.complete(prompts, **options)
    assert all(one.prompt_logprobs is None for one in plain)
    for _ in range(2):  # the second time, the prompts are in the prefix cache
        answers = llm.complete(prompts, prompt_logprobs=count, **options)
        assert [one.token_ids for one in answers] == [one.token_ids for one in plain]
        for prompt, completion in zip(prompts, answers, strict=True):
            ids = reference[1](prompt)["input_ids"]
            with torch.inference_mode():
                logprobs = reference[0](torch.tensor([ids])).logits[0].log_softmax(-1)
            assert completion.prompt_logprobs is not None
            first, *others = completion.prompt_logprobs
            assert (first, len(others)) == (None, len(ids) - 1)
            for token, row, found in zip(ids[1:], logprobs, others, strict=False):
                assert found is not None
                assert next(iter(found)) == token
                top = row.topk(count).indices.tolist()
                assert [one for one in found if one != token] == [one for one in top if one != token]
                assert list(found.values()) == pytest.approx(row[list(found)].tolist(), abs=1e-4)


def test_generate_streams_and_chats_return_log_probabilities_of_the_prompt(llm: LLM) -> None:
    options: dict[str, Any] = {"max_new_tokens": 2, "top_k": 1, "prompt_logprobs": 1}
    expected = llm.complete("Hi", **options)
    assert expected.prompt_logprobs is not None
    assert len(expected.prompt_logprobs) == expected.prompt_tokens
    assert llm.generate("Hi", **options) == expected
    *_, last = llm.generate("Hi", stream=True, **options)
    assert last.completion == expected
    assert llm.complete(["Hi", "Hi"], n=2, **options) == [[expected] * 2] * 2
    with llm.chat(max_new_tokens=2, top_k=1) as chat:
        assert chat.send("Hi", prompt_logprobs=1) == expected
    echo = llm.complete("Hi", **{**options, "max_new_tokens": 0})
    assert (echo.prompt_logprobs, echo.token_ids) == (expected.prompt_logprobs, ())


def test_beams_are_those_of_transformers(llm: LLM, reference: Any) -> None:
    prompts, model = ["The capital of France is", "Water is", EXAMPLES], reference[0]
    options: dict[str, Any] = {"num_beams": 3, "max_new_tokens": 8, "num_return_sequences": 2}
    for prompt, answers in zip(
        prompts, llm.beam_search(prompts, apply_chat_template=False, **options), strict=True
    ):
        inputs = reference[1](prompt, return_tensors="pt")
        found = model.generate(
            **inputs, do_sample=False, return_dict_in_generate=True, output_scores=True, **options
        )
        for row, score, answer in zip(found.sequences, found.sequences_scores, answers, strict=True):
            ids = row[inputs["input_ids"].shape[1] :].tolist()
            assert answer.token_ids == tuple(ids[: len(answer.token_ids)])
            assert set(ids[len(answer.token_ids) :]) <= {model.generation_config.pad_token_id}
            assert answer.score == pytest.approx(float(score), abs=1e-4)
            assert answer.text == llm.tokenizer.decode(row[inputs["input_ids"].shape[1] :])
        assert (
            llm.beam_search(prompt, apply_chat_template=False, **options)[0].token_ids == answers[0].token_ids
        )
    (chat,) = llm.beam_search("What is the capital of France?", num_beams=2, max_new_tokens=30)
    assert "Paris" in chat.text
    assert chat.finish_reason == "stop"


def test_documents_are_reranked(llm: LLM, reference: Any) -> None:
    query, documents = "What do llamas eat?", ["Stocks fell today.", "Llamas eat grass and hay."]
    cosines = (llm.embed(documents) @ llm.embed(query)[0]).tolist()
    ranked = llm.rerank(query, documents)
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    assert [one.score for one in ranked] == pytest.approx([cosines[one.index] for one in ranked], abs=1e-5)
    assert llm.rerank(query, documents, top_n=1) == ranked[:1]
    judged = llm.rerank(query, documents, method="yes_no", instruction="Find facts.")
    model, tokenizer = reference
    yes, no = (tokenizer.convert_tokens_to_ids(answer) for answer in ("yes", "no"))
    for one in judged:
        prompt = llm._loaded.tokenizer.render(
            [
                Message("system", SYSTEM_MESSAGE),
                Message(
                    "user",
                    f"<Instruct>: Find facts.\n<Query>: {query}\n<Document>: {documents[one.index]}",
                ),
            ]
        )
        with torch.inference_mode():
            logits = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]
        assert one.score == pytest.approx(float(logits[[yes, no]].softmax(-1)[0]), abs=1e-4)


def test_texts_are_scored_beside_answers_of_other_threads(llm: LLM) -> None:
    prompt = "The capital of France is"
    scores, answer = llm.score(PROMPTS, CONTINUATIONS), llm.generate(prompt, top_k=1, max_new_tokens=30)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(llm.generate, prompt, top_k=1, max_new_tokens=30) for _ in range(2)]
        scored = [pool.submit(llm.score, PROMPTS, CONTINUATIONS) for _ in range(2)]
        assert [each.result() for each in scored] == [scores] * 2
        assert [each.result() for each in answers] == [answer] * 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda llm: llm.score("Hi", "you"), WrongType, "continuations must be a list of texts"),
        (lambda llm: llm.score("Hi", [""]), InvalidArgument, "free of empty texts"),
        (lambda llm: llm.score("Hi " * 9000, ["you"]), TextTooLong, "context length is 8192"),
        (lambda llm: llm.logprobs(""), InvalidArgument, "free of empty texts"),
        (lambda llm: llm.logprobs(["Hi", "Hi " * 9000]), TextTooLong, "LLM.perplexity"),
        (lambda llm: llm.perplexity(3), WrongType, "a text, or the pathlib.Path of a file"),
        (lambda llm: llm.perplexity(Path("nowhere.txt")), InvalidArgument, "readable file in UTF-8"),
        (lambda llm: llm.perplexity("Hi there", stride=8192), InvalidArgument, "from 1 to 8191"),
        (lambda llm: llm.embed([]).shape, None, ""),
        (lambda llm: llm.embed(["Hi", ""]), InvalidArgument, "free of empty texts"),
        (lambda llm: llm.embed("Hi", pooling="first"), InvalidArgument, "'last' or 'mean'"),
        (lambda llm: llm.embed("Hi", normalize=1), WrongType, "normalize must be True or False"),
        (lambda llm: llm.embed("Hi " * 9000), TextTooLong, "context length is 8192"),
        (lambda llm: llm.rerank("Hi", "you"), WrongType, "documents must be a list of texts"),
        (lambda llm: llm.rerank(["Hi"], ["you"]), WrongType, "query must be a text"),
        (lambda llm: llm.rerank("Hi", ["you"], 0), InvalidArgument, "top_n must be a positive integer"),
        (lambda llm: llm.rerank("Hi", ["you"], method="dot"), InvalidArgument, "'cosine' or 'yes_no'"),
        (lambda llm: llm.rerank("Hi", ["you"], instruction="Find."), InvalidArgument, "None with method"),
        (lambda llm: llm.rerank("Hi", ["you"], method="yes_no", instruction=5), WrongType, "a text or None"),
        (
            lambda llm: llm.rerank("Hi", ["you"], method="yes_no", instruction=""),
            InvalidArgument,
            "non-empty",
        ),
        (lambda llm: llm.beam_search("Hi", num_beams=257), InvalidArgument, "from 1 to 256"),
        (lambda llm: llm.beam_search("Hi", length_penalty=11), InvalidArgument, "length_penalty must be"),
        (lambda llm: llm.complete("Hi", prompt_logprobs=-1), InvalidArgument, "prompt_logprobs must be"),
        (lambda llm: llm.beam_search("Hi", num_beams=0), InvalidArgument, "num_beams must be"),
        (lambda llm: llm.beam_search("Hi", max_new_tokens=0), InvalidArgument, "max_new_tokens must be"),
        (lambda llm: llm.beam_search(""), InvalidArgument, "prompt"),
        (lambda llm: llm.beam_search("Hi " * 9000), PromptTooLong, "length is 8192"),
    ],
)
def test_bad_input_is_refused(llm: LLM, call: Any, error: type[Exception] | None, message: str) -> None:
    if error is None:
        assert call(llm) == (0, 576)
        return
    with pytest.raises(error, match=message):
        call(llm)


def test_a_model_without_a_device_scores_nothing() -> None:
    with LLM.load(tiny_folder("llama"), distribute=None, quiet=True) as llm:
        for call in (
            lambda: llm.score("Hi", ["you"]),
            lambda: llm.logprobs("Hi"),
            lambda: llm.perplexity("Hi"),
            lambda: llm.embed("Hi"),
            lambda: llm.rerank("Hi", ["you"]),
            lambda: llm.beam_search("Hi"),
        ):
            with pytest.raises(NotDistributed):
                call()


def test_the_examples_of_the_document_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    document = (ROOT / "docs" / "scoring.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL):
        exec(block, names)  # noqa: S102 - from the documentation
    assert names["similarities"].shape == (3, 3)
    names["llm"].close()
