"""Tests of scoring, perplexity and embeddings with SmolLM2, against transformers, and of bad input."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.errors import InvalidArgument, NotDistributed, TextTooLong, WrongType
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
    assert embeddings.dtype == torch.float32
    for text, embedding in zip(TEXTS, embeddings, strict=True):
        with torch.inference_mode():
            output = reference[0](**reference[1](text, return_tensors="pt"), output_hidden_states=True)
        hidden = output.hidden_states[-1][0]
        expected = hidden[-1] if pooling == "last" else hidden.mean(0)
        assert torch.allclose(embedding, expected / expected.norm(), atol=1e-5)
        assert torch.allclose(llm.embed(text, pooling=pooling)[0], embedding, atol=1e-5)


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
