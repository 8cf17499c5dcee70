"""Tests of draft models through `LLM` and the command line: texts are the same with any draft model."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litgpt import LLM
from litgpt.adapters.native.runner import NativeRunner
from litgpt.domain.scheduling.drafts.draft_length import DraftBudget
from litgpt.errors import InvalidArgument, TokenizerMismatch, UnsupportedOperation
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.test_cli import run_cli

PROMPTS = ["Hello", "What do llamas eat?", "abc" * 60]


@pytest.fixture
def proposals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let draft models propose as many tokens as they may, at any time."""
    monkeypatch.setattr(DraftBudget, "seconds_saved", lambda *_: 1.0)
    monkeypatch.setattr(DraftBudget, "least_confidence", lambda *_: 0.0)


@pytest.fixture(scope="module")
def plain() -> Iterator[LLM]:
    with LLM.load(tiny_folder("llama"), quiet=True) as llm:
        yield llm


@pytest.fixture(scope="module", params=["same model", "another model", "another family"])
def drafted(request: pytest.FixtureRequest) -> Iterator[LLM]:
    folder = {
        "same model": tiny_folder("llama", dtype="bfloat16"),
        "another model": tiny_folder("llama", seed=1),
        "another family": tiny_folder("gpt_neox"),
    }[request.param]
    with LLM.load(tiny_folder("llama"), draft=folder, quiet=True) as llm:
        yield llm


@pytest.mark.usefixtures("proposals")
@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"seed": 1},
        {"seed": 2, "top_p": 0.9, "repetition_penalty": 1.2, "logprobs": True, "top_logprobs": 2},
        {"seed": 3, "stop": ["e", "a"], "prompt_lookup_num_tokens": 0},
        {"seed": 4, "n": 2, "cache_prompt": False},
        {"seed": 5, "regex": "[a-d]{20,50}"},
    ],
    ids=str,
)
def test_texts_are_the_same(plain: LLM, drafted: LLM, options: dict[str, Any]) -> None:
    for prompt in PROMPTS:
        expected = plain.complete(prompt, max_new_tokens=40, **options)
        assert drafted.complete(prompt, max_new_tokens=40, **options) == expected


@pytest.mark.usefixtures("proposals")
@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS * 2])
def test_texts_of_a_batch_are_the_same(plain: LLM, drafted: LLM, prompts: list[str]) -> None:
    expected = plain.generate(prompts, max_new_tokens=30, seed=1)
    assert drafted.generate(prompts, max_new_tokens=30, seed=1) == expected


@pytest.mark.usefixtures("proposals")
def test_tokens_of_a_draft_model_with_the_same_weights_are_accepted() -> None:
    folder = tiny_folder("llama")
    with LLM.load(folder, draft=folder, quiet=True) as llm:
        options: dict[str, Any] = {"max_new_tokens": 41, "temperature": 0, "prompt_lookup_num_tokens": 0}
        assert llm.complete("Hello", **options).draft_tokens >= 28
        _, figures = llm.benchmark(2, prompt="Hello", **options)
        assert min(figures["Tokens accepted from drafts"]) >= 28
        llm.distribute(quantize="int8")
        assert llm.complete("Hello", **options).draft_tokens > 0
        llm.close()
        llm.distribute()
        assert llm.complete("Hello", **options).draft_tokens >= 28


@pytest.mark.usefixtures("proposals")
def test_a_draft_model_with_logits_that_are_not_finite_proposes_nothing(plain: LLM, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_folder("llama"), tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({name: it * float("nan") for name, it in weights.items()}, tmp_path / "model.safetensors")
    with LLM.load(tiny_folder("llama"), draft=tmp_path, quiet=True) as llm:
        answer = llm.complete("Hello", max_new_tokens=30, seed=1)
        assert answer == plain.complete("Hello", max_new_tokens=30, seed=1)
        assert answer.draft_tokens == 0


def test_the_kv_cache_of_the_draft_model_counts_into_the_bound() -> None:
    folder = tiny_folder("llama")
    with LLM.load(folder, draft=folder, quiet=True) as llm:
        placed: Any = llm._placed
        runner = NativeRunner(placed.model, lambda: 0, 10**8)
        both = NativeRunner(placed.model, lambda: 0, 10**8, placed.draft.model)
        assert both.num_pages == runner.num_pages // 2
        assert placed.nbytes == 2 * placed.model.weight_bytes


def test_another_vocabulary_is_refused_although_it_has_as_many_tokens(tmp_path: Path) -> None:
    shutil.copytree(tiny_folder("llama"), tmp_path, dirs_exist_ok=True)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(TokenizerMismatch, match=r"2 of 258 token ids differ.*'b' and 'a'.*same family"):
        LLM.load(tiny_folder("llama"), draft=tmp_path, quiet=True)


def test_what_cannot_draft_is_refused_by_name() -> None:
    llama, sliding = tiny_folder("llama"), tiny_folder("mistral")
    with pytest.raises(UnsupportedOperation, match=r"mistral.*sliding windows"):
        LLM.load(llama, draft=sliding, quiet=True)
    with pytest.raises(UnsupportedOperation, match=r"mistral.*sliding windows"):
        LLM.load(sliding, draft=llama, quiet=True)
    with pytest.raises(InvalidArgument, match="draft must be None with init='random'"):
        LLM.load(llama, "random", draft=llama, quiet=True)
    with LLM.load(llama, draft=llama, quiet=True) as llm:
        with pytest.raises(UnsupportedOperation, match="only the native engine"):
            llm.distribute(engine="torch")
        assert llm.generate("Hello", max_new_tokens=3)


@pytest.mark.usefixtures("proposals")
def test_commands_take_a_draft_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = str(tiny_folder("llama"))
    options = ("--max-new-tokens", "9", "--top-k", "1")
    expected = run_cli(capsys, "generate", folder, "Hello", *options, "--quiet")
    assert run_cli(capsys, "generate", folder, "Hello", *options, "--quiet", "--draft", folder) == expected
    status, _, notes = run_cli(capsys, "generate", folder, "Hello", *options, "--draft", folder)
    assert (status, f"Using {folder} as draft model" in notes) == (0, True)
    status, output, _ = run_cli(capsys, "benchmark", folder, "Hello", "--json", *options, "--draft", folder)
    assert "Tokens accepted from drafts" in json.loads(output)["figures"]
    (tmp_path / "in.jsonl").write_text('{"prompt": "Hello", "temperature": 0}\n')
    files = str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")
    assert run_cli(capsys, "batch", *files, "--model", folder, "--draft", folder)[0] == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["text"].startswith(expected[1][:5])
