"""Tests of the sampling options of `LLM` with the real model in both engines, and of their documentation."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from litgpt import LLM
from litgpt.domain.generation.request import Completion
from litgpt.errors import AllTokensExcluded, InvalidArgument, WrongType
from litgpt.llm_parts.generate_kwargs import SHARED_OPTIONS, TemplateKwargs
from tests.architecture.repository import ROOT

QUESTION = "What is the capital of France?"
DOCUMENT = (ROOT / "docs" / "sampling.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=["native", "torch"])
def llm(request: pytest.FixtureRequest) -> Iterator[LLM]:
    with LLM.load("smollm2", distribute=None, quiet=True) as loaded:
        loaded.distribute(accelerator="cpu", engine=request.param, precision="32-true")
        yield loaded


def answer(llm: LLM, prompt: str = QUESTION, **options: Any) -> Completion:
    return llm.complete(prompt, **({"max_new_tokens": 12, "top_k": 1} | options))


def token(llm: LLM, text: str) -> int:
    found: int | None = llm.tokenizer.token_to_id(text)
    assert found is not None
    return found


def test_bad_words_do_not_appear(llm: LLM) -> None:
    assert "Paris" in answer(llm).text
    assert "Paris" not in answer(llm, bad_words=["Paris"]).text
    capital, of = llm.tokenizer.encode(" capital of").tolist()
    without = answer(llm, bad_words=[[capital, of]]).token_ids
    assert (capital, of) not in itertools.pairwise(without)
    assert capital in without


def test_a_bias_forces_and_excludes_tokens(llm: LLM) -> None:
    lyon = token(llm, "ĠLyon")
    assert answer(llm, logit_bias={lyon: 100}, max_new_tokens=2).token_ids == (lyon, lyon)
    the = answer(llm).token_ids[0]
    assert answer(llm, logit_bias={the: -100}).token_ids[0] != the


def test_only_allowed_tokens_appear(llm: LLM) -> None:
    allowed = [token(llm, "Yes"), token(llm, "No")]
    assert set(answer(llm, allowed_token_ids=allowed, top_k=None, seed=1).token_ids) <= set(allowed)


def test_the_end_waits_for_min_tokens_or_is_ignored(llm: LLM) -> None:
    end = token(llm, "<|im_end|>")
    assert answer(llm).token_ids[-1] == end
    later = answer(llm, min_tokens=10)
    assert later.completion_tokens >= 10
    assert end not in later.token_ids[:9]
    assert answer(llm, ignore_eos=True).completion_tokens == 12
    assert answer(llm, stop="capital", min_tokens=4).text.startswith("The capital of France")
    assert answer(llm, stop="capital").text == "The "


def test_stop_tokens_and_stop_strings_of_a_call(llm: LLM) -> None:
    of = token(llm, "Ġof")
    stopped = answer(llm, stop_token_ids=[of])
    assert (stopped.text, stopped.token_ids[-1], stopped.finish_reason) == ("The capital", of, "stop")
    assert answer(llm, stop=["of F"], include_stop=True).text == "The capital of F"
    pieces = llm.generate(QUESTION, top_k=1, stop="of F", include_stop=True, stream=True)
    assert "".join(pieces) == "The capital of F"


def test_penalties_count_tokens_of_the_prompt_or_of_the_answer(llm: LLM) -> None:
    prompt = "one two one two one two one two one"
    options: dict[str, Any] = {"apply_chat_template": False, "max_new_tokens": 6, "ignore_eos": True}
    repeated = answer(llm, prompt, **options)
    assert repeated.text.startswith(" two two two")
    assert " two" not in answer(llm, prompt, repetition_penalty=2.0, **options).text
    assert not answer(llm, prompt, dry_multiplier=5.0, **options).text.startswith(" two")
    penalized = answer(llm, prompt, presence_penalty=2.0, frequency_penalty=2.0, **options)
    assert penalized.text.startswith(" two")  # the prompt does not count
    assert len(set(penalized.token_ids)) > len(set(repeated.token_ids))


def test_dry_stops_at_its_sequence_breakers(llm: LLM) -> None:
    prompt = "a b c\na b c\na b"
    options: dict[str, Any] = {"apply_chat_template": False, "max_new_tokens": 1, "dry_multiplier": 100.0}
    assert answer(llm, prompt, **options, dry_sequence_breakers=None).text != " c"
    assert answer(llm, prompt, **options, dry_sequence_breakers=[" b"]).text == " c"
    assert answer(llm, prompt, **options, dry_allowed_length=3).text == " c"


def test_n_answers_have_the_seeds_that_follow(llm: LLM) -> None:
    options: dict[str, Any] = {"max_new_tokens": 8, "top_k": None, "temperature": 1.0}
    alone = [llm.generate(QUESTION, seed=seed, **options) for seed in (3, 4, 5)]
    assert llm.generate(QUESTION, seed=3, n=3, **options) == alone
    assert llm.generate(QUESTION, seed=3, n=1, **options) == alone[:1]
    assert [one.text for one in llm.complete(QUESTION, seed=3, n=2, **options)] == alone[:2]
    several = llm.generate([QUESTION, "Hello"], seed=3, n=2, **options)
    assert several == [alone[:2], [llm.generate("Hello", seed=seed, **options) for seed in (3, 4)]]
    chunks: dict[int, str] = {}
    for index, text in llm.generate([QUESTION, "Hello"], seed=3, n=2, stream=True, **options):
        chunks[index] = chunks.get(index, "") + text
    assert [chunks[index] for index in range(4)] == [text for pair in several for text in pair]
    assert len(set(llm.generate(QUESTION, n=4, **options))) > 1  # without a seed, too


def test_the_likeliest_tokens_are_those_of_the_model(llm: LLM) -> None:
    plain = answer(llm, top_logprobs=3)
    assert plain.logprobs is not None
    assert plain.top_logprobs is not None
    changed = llm.generate(
        QUESTION, top_k=1, max_new_tokens=3, top_logprobs=3, logit_bias={plain.token_ids[0]: -100}
    )
    assert changed.top_logprobs[0] == plain.top_logprobs[0]  # before all options
    for sampled, logprob, likeliest in zip(plain.token_ids, plain.logprobs, plain.top_logprobs, strict=True):
        assert len(likeliest) == 3
        assert list(likeliest.values()) == sorted(likeliest.values(), reverse=True)
        assert likeliest[sampled] == pytest.approx(logprob, abs=1e-5)
    chunks = list(llm.complete(QUESTION, top_logprobs=2, max_new_tokens=3, stream=True))
    assert [len(chunk.top_logprobs or ()) for chunk in chunks] == [2, 2, 2]


def test_a_chat_takes_the_options(llm: LLM) -> None:
    with llm.chat(top_k=1, bad_words="Paris", max_new_tokens=12) as chat:
        assert "Paris" not in chat.send(QUESTION)
        assert "Paris" in chat.send(QUESTION, bad_words=None, logit_bias={token(llm, "ĠParis"): 20})
        assert len(chat.send("Hi", top_logprobs=2).top_logprobs[0]) == 2


def test_a_processor_sees_the_prompt_and_the_answer(llm: LLM) -> None:
    lengths = []

    def processor(token_ids: list[int], logits: Any) -> Any:
        lengths.append(len(token_ids))
        logits[token_ids[-1]] = -np.inf
        return logits

    completion = answer(llm, "one one one", logits_processor=[processor], max_new_tokens=3, ignore_eos=True)
    assert lengths == [completion.prompt_tokens + number for number in range(3)]
    assert all(first != second for first, second in itertools.pairwise(completion.token_ids))
    with pytest.raises(AllTokensExcluded, match="logits_processor"):
        answer(llm, logits_processor=lambda _, row: row - np.inf)
    assert "Paris" in answer(llm).text


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"logit_bias": {1: 101}}, InvalidArgument, "logit_bias must be a number from -100 to 100"),
        ({"logit_bias": {10**6: 1}}, InvalidArgument, "token ids from 0 to 49151"),
        ({"logit_bias": [1]}, WrongType, "logit_bias must be a dict"),
        ({"allowed_token_ids": []}, InvalidArgument, "at least one token id"),
        ({"allowed_token_ids": [49_152]}, InvalidArgument, "token ids from 0 to 49151"),
        ({"bad_words": [""]}, InvalidArgument, "free of empty strings"),
        ({"bad_words": [[]]}, InvalidArgument, "non-empty lists"),
        ({"bad_words": 3}, WrongType, "bad_words must be"),
        ({"min_tokens": 60}, InvalidArgument, r"at most max_new_tokens \(50\)"),
        ({"stop_token_ids": ["a"]}, WrongType, "a list of token ids"),
        ({"stop_token_ids": [10**6]}, InvalidArgument, "token ids from 0 to 49151"),
        ({"presence_penalty": 2.1}, InvalidArgument, "a number from -2 to 2"),
        ({"repetition_penalty": 0}, InvalidArgument, "at least 1e-06"),
        ({"typical_p": 0}, InvalidArgument, "above 0, at most 1"),
        ({"xtc_threshold": 0.6}, InvalidArgument, "from 0 to 0.5"),
        ({"dry_base": 0.5}, InvalidArgument, "at least 1"),
        ({"dry_sequence_breakers": [1.5]}, WrongType, "dry_sequence_breakers must be"),
        ({"logits_processor": "f"}, WrongType, "a function, or a list of them"),
        ({"top_logprobs": -1}, InvalidArgument, "top_logprobs must be"),
        ({"ignore_eos": 1}, WrongType, "ignore_eos must be True or False"),
        ({"n": 0}, InvalidArgument, "n must be a positive integer or None"),
    ],
)
def test_invalid_values_are_refused_with_a_remedy(
    llm: LLM, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        llm.generate(QUESTION, **options)


def test_the_examples_of_the_document_run() -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL):
        exec(block, names)  # noqa: S102 - from the documentation
    names["llm"].close()


def test_every_sampling_option_is_in_an_example() -> None:
    examples = "".join(re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))
    elsewhere = {*TemplateKwargs.__annotations__, "sys_prompt", "top_p", "logprobs", "parse_special_tokens"}
    elsewhere |= {"cache_prompt", "prompt_lookup_num_tokens"}  # docs/engine.md
    elsewhere |= {"prompt_logprobs", "reasoning_budget"}  # docs/scoring.md, docs/generation.md
    elsewhere |= {"schema", "regex", "grammar", "choices"}  # docs/structured-output.md
    elsewhere |= {"adapter"}  # docs/training.md
    assert {
        name for name in SHARED_OPTIONS.descriptions if not re.search(rf"\b{name}=", examples)
    } == elsewhere
