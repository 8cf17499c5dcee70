"""Tests of the README's promises with the two real models."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from litgpt import LLM
from litgpt.api import benchmark_dict_to_markdown_table

QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM.load("smollm2", quiet=True) as loaded:
        yield loaded


def test_it_knows_the_capital_of_france(llm: LLM) -> None:
    assert llm.generate(QUESTION, top_k=1) == "The capital of France is Paris."


def test_a_stream_is_the_text(llm: LLM) -> None:
    prompt = "Say something with accents and emoji, such as né 🦙."
    text = llm.generate(prompt, max_new_tokens=40, seed=5)
    pieces = list(llm.generate(prompt, max_new_tokens=40, seed=5, stream=True))
    assert "".join(pieces) == text
    assert all(pieces)
    assert len(pieces) > 10


def test_ids_are_the_text_with_its_end_token(llm: LLM) -> None:
    ids = llm.generate(QUESTION, top_k=1, return_as_token_ids=True)
    assert ids.dtype == torch.long
    assert ids.ndim == 1
    assert llm.preprocessor.decode(ids) == "The capital of France is Paris."
    assert int(ids[-1]) == llm.tokenizer.token_to_id("<|im_end|>")
    streamed = llm.generate(QUESTION, top_k=1, return_as_token_ids=True, stream=True)
    assert torch.equal(torch.cat(list(streamed)), ids)


def test_a_conversation_and_a_system_prompt_are_the_same_thing(llm: LLM) -> None:
    answer = llm.generate(QUESTION, sys_prompt="Answer in capitals.", top_k=1)
    messages = [{"role": "system", "content": "Answer in capitals."}, {"role": "user", "content": QUESTION}]
    assert llm.generate(messages, top_k=1) == answer
    assert llm.complete(messages).prompt_tokens > llm.complete(QUESTION, max_new_tokens=0).prompt_tokens - 40


def test_a_stop_string_ends_the_answer_and_is_held_back(llm: LLM) -> None:
    pieces = list(llm.generate(QUESTION, top_k=1, stop=[" is Par", "Berlin"], stream=True))
    assert "".join(pieces) == "The capital of France"
    completion = llm.complete(QUESTION, top_k=1, stop=" is Par")
    assert completion.finish_reason == "stop"


def test_a_completion_has_its_finish_reason_and_token_counts(llm: LLM) -> None:
    whole = llm.complete(QUESTION, top_k=1)
    assert (whole.finish_reason, whole.completion_tokens) == ("stop", 8)
    cut = llm.complete(QUESTION, top_k=1, max_new_tokens=3)
    assert (cut.finish_reason, cut.text) == ("length", "The capital of")


def test_a_chat_prefills_only_new_tokens(llm: LLM) -> None:
    with llm.chat(top_k=1) as chat:
        assert "Paris" in chat.send(QUESTION)
        known = len(chat._conversation._history.token_ids)
        branch = chat.branch()
        (*_, last) = chat.events("And what did I ask you about?")
        answer = chat.messages[-1].text
        assert "France" in answer
        # All of the first turn was still there when the second came, but its last token.
        assert last.completion is not None
        assert known - 1 <= last.completion.cached_tokens <= known
        assert [message.role for message in chat.messages] == ["user", "assistant"] * 2
        assert len(branch.messages) == 2
        assert branch.send("And what did I ask you about?") == answer


def test_a_chat_is_saved_and_resumed(llm: LLM, tmp_path: Path) -> None:
    with llm.chat("Be brief.", top_k=1, max_new_tokens=12) as chat:
        chat.send("My name is Ada.")
        chat.save(tmp_path / "talk.json")
        expected = chat.send("And what is the capital of France?")
    resumed = llm.chat(resume=tmp_path / "talk.json", top_k=1, max_new_tokens=12)
    assert [message.content for message in resumed.messages][:2] == ["Be brief.", "My name is Ada."]
    assert resumed.send("And what is the capital of France?") == expected


def test_a_benchmark_counts_what_happened(llm: LLM) -> None:
    text, figures = llm.benchmark(num_iterations=3, prompt=QUESTION, top_k=1)
    assert text == "The capital of France is Paris."
    assert list(figures)[:4] == [
        "Seconds total",
        "Seconds to first token",
        "Tokens generated",
        "Inference speed in tokens/sec",
    ]
    assert figures["Tokens generated"] == [8, 8, 8]
    for total, first, speed in zip(
        *(figures[name] for name in list(figures)[:2]), figures[list(figures)[3]], strict=True
    ):
        assert 0 < first < total
        assert speed == pytest.approx(8 / total)
    table = benchmark_dict_to_markdown_table({name: values[1:] for name, values in figures.items()})
    assert table.count("\n") == len(figures) + 2


def test_logits_from_safetensors_are_transformers(smollm2_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(smollm2_folder, dtype=torch.float32)
    with LLM.load(str(smollm2_folder), distribute=None, tokenizer_dir=None, quiet=True) as actual:
        actual.distribute(accelerator="cpu", precision="32-true")
        ids = torch.arange(300, 360)[None]
        with torch.inference_mode():
            expected, result = reference(ids).logits, actual(ids)
    assert (result - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_logits_from_gguf_are_those_from_safetensors(smollm2_folder: Path) -> None:
    ids = torch.arange(300, 360)[None]
    logits = []
    for model in ("smollm2", str(smollm2_folder)):
        with LLM.load(model, distribute=None, quiet=True) as llm, torch.inference_mode():
            llm.distribute(accelerator="cpu", precision="32-true")
            logits.append(llm(ids))
    assert torch.equal(*logits)


def test_gemma_3_continues_a_sentence(gemma3_gguf: Path) -> None:
    with LLM.load(gemma3_gguf, quiet=True) as llm:
        assert llm.generate("Roses are red, violets are", top_k=1, max_new_tokens=1) == " blue"
        assert llm.prompt_style is not None
        assert llm.prompt_style.name == "default"  # a base model is not trained to chat
