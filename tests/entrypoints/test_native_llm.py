"""Tests of the native engine through `LLM` and the command line, beside the torch engine."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.errors import InvalidArgument, ModelClosed, NotDistributed, PromptTooLong, UnsupportedOperation
from tests.adapters.tiny_models import save_many_experts, tiny_folder
from tests.entrypoints.templated_model import templated_folder
from tests.entrypoints.test_cli import run_cli

QUESTION = "What is the capital of France? Tell me about it."
IDS = torch.arange(5, 30)[None]
PROMPTS = ["Hello", "A longer prompt of several words, which is one more", "x" * 700, "1 2 3"]


def place(model: Any = "smollm2", **options: Any) -> LLM:
    llm = LLM.load(model, distribute=None, quiet=True)
    llm.distribute(**({"accelerator": "cpu", "engine": "torch"} | options))
    return llm


@pytest.fixture(scope="module")
def smollm2() -> Iterator[LLM]:
    """SmolLM2 in the 4-bit format of its file."""
    with place(engine="native") as llm:
        yield llm


@pytest.fixture(scope="module")
def tiny() -> Iterator[LLM]:
    with place(tiny_folder("llama"), engine="native", precision="32-true") as llm:
        yield llm


@pytest.fixture(scope="module")
def reference() -> Iterator[LLM]:
    with place(tiny_folder("llama"), engine="torch", precision="32-true") as llm:
        yield llm


def test_it_answers_in_the_4_bits_of_its_file(smollm2: LLM) -> None:
    assert "Paris" in smollm2.generate(QUESTION, top_k=1, max_new_tokens=12)
    assert smollm2.arithmetic == "weights as stored; native engine"


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_it_answers_with_weights_that_are_quantized_while_loading(quantize: str) -> None:
    with place(engine="native", quantize=quantize) as llm:
        assert "Paris" in llm.generate(QUESTION, top_k=1, max_new_tokens=12)


def test_float32_texts_of_a_real_model_equal_those_of_torch() -> None:
    with place(engine="native", precision="32-true") as native, place(precision="32-true") as torch_llm:
        for prompt in (QUESTION, "Write a haiku about the sea."):
            expected = torch_llm.generate(prompt, top_k=1, max_new_tokens=24)
            assert native.generate(prompt, top_k=1, max_new_tokens=24) == expected


@pytest.mark.parametrize("family", ["qwen3_5_text", "qwen3_5_moe_text", "qwen3_next"])
def test_float32_texts_of_gated_delta_networks_equal_those_of_torch(family: str) -> None:
    options: dict[str, Any] = {"max_new_tokens": 15, "top_k": 1, "return_as_token_ids": True}
    folder, prompts = tiny_folder(family), ["abc", QUESTION, "x"]
    with place(folder, engine="native", precision="32-true") as native:
        together = native.generate(prompts, **options)
        with place(folder, precision="32-true") as torch_llm:
            for prompt, ids in zip(prompts, together, strict=True):
                assert torch.equal(ids, torch_llm.generate(prompt, **options))
                assert torch.equal(ids, native.generate(prompt, **options))


def test_a_stream_is_the_text(smollm2: LLM) -> None:
    text = smollm2.generate("Say hello.", max_new_tokens=12, seed=3)
    assert "".join(smollm2.generate("Say hello.", max_new_tokens=12, seed=3, stream=True)) == text


def test_prompts_of_all_lengths_are_answered_as_alone(tiny: LLM, reference: LLM) -> None:
    options: dict[str, Any] = {"max_new_tokens": 15, "top_k": 1, "return_as_token_ids": True}
    together = tiny.generate([prompt[:60] for prompt in PROMPTS], **options)
    for prompt, ids in zip(PROMPTS, together, strict=True):
        assert torch.equal(ids, tiny.generate(prompt[:60], **options))
        assert torch.equal(ids, reference.generate(prompt[:60], **options))


@pytest.mark.parametrize(
    "options", [{"temperature": 1.0}, {"temperature": 0.7, "top_p": 0.9}, {"temperature": 2.0, "top_k": 20}]
)
def test_a_seed_gives_the_text_of_the_torch_engine(tiny: LLM, reference: LLM, options: Any) -> None:
    for seed in range(5):
        settings = options | {"seed": seed, "max_new_tokens": 20, "return_as_token_ids": True}
        assert torch.equal(tiny.generate("abc", **settings), reference.generate("abc", **settings))


def test_torchs_seed_makes_answers_without_a_seed_reproducible(tiny: LLM, reference: LLM) -> None:
    answers = []
    for llm in (tiny, tiny, reference):
        torch.manual_seed(11)
        answers.append(llm.generate("abc", temperature=1.0, max_new_tokens=20))
    assert len(set(answers)) == 1


def test_log_probabilities_are_those_of_the_torch_engine(tiny: LLM, reference: LLM) -> None:
    settings: dict[str, Any] = {"top_k": 1, "max_new_tokens": 9, "logprobs": True}
    assert tiny.complete("abc", **settings).logprobs == pytest.approx(
        reference.complete("abc", **settings).logprobs, rel=1e-3, abs=1e-4
    )


def test_a_conversation_computes_only_its_new_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    from litgpt.adapters.native.model import NativeModel

    steps, step = [], NativeModel.step

    def record(self: NativeModel, batch: Any, *rows: Any) -> Any:
        steps.append(sum(len(tokens) for _, tokens in batch))
        return step(self, batch, *rows)

    monkeypatch.setattr(NativeModel, "step", record)
    settings: dict[str, Any] = {"top_k": 1, "max_new_tokens": 5}
    folder, precision = templated_folder(), "32-true"
    with (
        place(folder, engine="native", precision=precision) as native,
        place(folder, precision=precision) as llm,
    ):
        chat, expected = native.chat(**settings), llm.chat(**settings)
        for prompt in ("abcdefghij" * 3, "k"):
            steps.clear()
            assert chat.complete(prompt).token_ids == expected.complete(prompt).token_ids
    assert sum(steps) < 60


def test_a_conversation_that_outgrows_the_original_context_changes_its_rope(tmp_path: Path) -> None:
    shutil.copytree(tiny_folder("phi3"), tmp_path / "phi3")
    config = json.loads((tmp_path / "phi3/config.json").read_text())
    pairs = config["hidden_size"] // config["num_attention_heads"] // 2
    config["rope_parameters"] = {
        "rope_type": "longrope",
        "rope_theta": 500.0,
        "short_factor": [1.0] * pairs,
        "long_factor": [4.0] * pairs,
    }
    config |= {"original_max_position_embeddings": 90, "rope_scaling": config["rope_parameters"]}
    (tmp_path / "phi3/config.json").write_text(json.dumps(config))
    settings: dict[str, Any] = {"top_k": 1, "max_new_tokens": 9}
    with (
        place(tmp_path / "phi3", engine="native", precision="32-true") as native,
        place(tmp_path / "phi3", engine="torch", precision="32-true") as llm,
    ):
        prompts = ("ab", "cd", "opqr" * 6)
        native.prompt_style = llm.prompt_style = "falcon3"
        chat, expected = native.chat(**settings), llm.chat(**settings)
        for prompt in prompts:
            assert chat.complete(prompt).token_ids == expected.complete(prompt).token_ids
        assert native.generate(list(prompts), **settings) == llm.generate(list(prompts), **settings)


def test_threads_generate_at_the_same_time(tiny: LLM) -> None:
    expected = {prompt: tiny.generate(prompt, top_k=1, max_new_tokens=20) for prompt in "abcd"}
    answers: dict[str, str] = {}

    def answer(prompt: str) -> None:
        answers[prompt] = tiny.generate(prompt, top_k=1, max_new_tokens=20)

    threads = [threading.Thread(target=answer, args=(prompt,)) for prompt in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == expected


def test_a_long_prompt_and_a_closed_model_are_errors() -> None:
    llm = place(tiny_folder("llama"), engine="native")
    with pytest.raises(PromptTooLong):
        llm.generate("x" * 5000)
    stream = llm.generate("abc", max_new_tokens=30, stream=True)
    next(stream)
    llm.close()
    with pytest.raises(ModelClosed):
        next(stream)
    with pytest.raises(NotDistributed):
        llm.generate("abc")
    assert llm.model is None
    llm.distribute(engine="native")
    assert llm.generate("abc", max_new_tokens=3)
    llm.close()


def test_a_fixed_cache_limits_the_context() -> None:
    llm = place(tiny_folder("llama"), engine="native", fixed_kv_cache_size=8)
    with llm, pytest.raises(PromptTooLong, match="context length is 8"):
        llm.generate("abcdefghijkl")


def test_the_torch_network_is_there_when_it_is_asked_for(reference: LLM) -> None:
    with place(tiny_folder("llama"), engine="native", precision="32-true") as llm:
        assert llm._network is None
        text = llm.generate("abc", top_k=1, max_new_tokens=9)
        assert llm._network is None
        ids = torch.tensor([[5, 6, 7]])
        assert torch.equal(llm(ids), reference(ids))
        assert dict(llm.named_parameters()).keys() == dict(reference.named_parameters()).keys()
        assert llm.state_dict().keys() == reference.state_dict().keys()
        assert llm.generate("abc", top_k=1, max_new_tokens=9) == text


def test_parameters_and_state_dict_build_the_torch_network(reference: LLM) -> None:
    for read in (lambda llm: dict(llm.named_parameters()), lambda llm: llm.state_dict()):
        with place(tiny_folder("llama"), engine="native") as llm:
            assert read(llm).keys() == read(reference).keys()


def test_weights_that_are_changed_are_the_ones_that_generate() -> None:
    with place(tiny_folder("llama"), engine="native", precision="32-true") as llm:
        before = llm.generate("abc", top_k=1, max_new_tokens=9, return_as_token_ids=True)
        other = place(tiny_folder("llama", seed=1), precision="32-true")
        llm.load_state_dict(other.state_dict())
        after = llm.generate("abc", top_k=1, max_new_tokens=9, return_as_token_ids=True)
        assert torch.equal(after, other.generate("abc", top_k=1, max_new_tokens=9, return_as_token_ids=True))
        assert not torch.equal(before, after)


def test_weights_of_the_network_that_are_changed_in_place_generate() -> None:
    with place(tiny_folder("llama"), engine="native", precision="32-true") as llm:
        before = llm.generate("abc", top_k=1, max_new_tokens=9)
        with torch.no_grad():
            llm.get_parameter("model.lm_head.weight").neg_()
        assert llm.model is llm._network
        assert llm.generate("abc", top_k=1, max_new_tokens=9) != before


def test_a_saved_model_has_the_weights_of_the_checkpoint(tmp_path: Path) -> None:
    with place(tiny_folder("llama"), engine="native", precision="32-true") as llm:
        text = llm.generate("abc", top_k=1, max_new_tokens=9)
        llm.save(tmp_path / "saved")
    with place(tmp_path / "saved", precision="32-true") as saved:
        assert saved.generate("abc", top_k=1, max_new_tokens=9) == text


def test_a_native_model_can_be_prepared_for_training() -> None:
    llm = place(tiny_folder("llama"), engine="native")
    llm.trainer_setup()
    ids = torch.tensor([[5, 6, 7]])
    loss = llm.loss(ids, ids)
    loss.backward()
    assert all(weight.grad is not None for weight in llm.parameters())
    assert llm.generate("abc", max_new_tokens=3)


def test_a_converted_model_is_computed_with_the_converted_weights() -> None:
    with place(tiny_folder("llama"), engine="torch", precision="bf16-true") as rounded:
        expected = rounded(IDS)
        text = rounded.generate("abc", top_k=1, max_new_tokens=20)
    with place(tiny_folder("llama"), engine="native", precision="32-true") as llm:
        llm.to(torch.bfloat16)
        assert torch.equal(llm(IDS), expected)
        assert llm.generate("abc", top_k=1, max_new_tokens=20) == text


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"engine": "onnx"}, InvalidArgument, "engine must be None, 'native', 'torch' or 'transformers'"),
        ({"engine": "native", "quantize": "bnb.nf4"}, UnsupportedOperation, "engine='torch'"),
        (
            {"engine": "native", "devices": 2, "generate_strategy": "sequential"},
            UnsupportedOperation,
            "devices=1",
        ),
        ({"engine": "torch", "kv_cache": "int8"}, UnsupportedOperation, "Use engine='native'"),
    ],
)
def test_options_that_the_engine_does_not_have_leave_the_model_as_it_is(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with place(tiny_folder("llama"), engine="native") as llm:
        with pytest.raises(error, match=message):
            llm.distribute(accelerator="cpu", **options)
        assert llm.generate("abc", max_new_tokens=3)


def test_a_model_that_the_engine_does_not_have_is_an_error_before_the_model_is_released(
    tmp_path: Path,
) -> None:
    save_many_experts(tmp_path)
    with place(tmp_path) as llm:
        network = llm.model
        with pytest.raises(UnsupportedOperation, match=r"native.*1,024 experts.*or use engine='torch'"):
            llm.distribute(engine="native")
        assert llm.model is network


def test_engines_can_be_exchanged() -> None:
    with place(tiny_folder("llama"), engine="native", precision="32-true") as llm:
        text = llm.generate("abc", top_k=1, max_new_tokens=9)
        llm.distribute(accelerator="cpu", engine="torch", precision="32-true")
        assert isinstance(llm.model, torch.nn.Module)
        assert llm.generate("abc", top_k=1, max_new_tokens=9) == text
        llm.distribute(engine="native", precision="32-true")
        assert llm._network is None
        assert llm.generate("abc", top_k=1, max_new_tokens=9) == text


def test_the_command_line_takes_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tiny_folder("llama"))
    arguments = ("generate", folder, "abc", "--temperature", "0", "--precision", "32-true")
    status, native, notes = run_cli(capsys, *arguments, "--engine", "native")
    assert (status, notes.splitlines()[0].startswith("Using the native engine (")) == (0, True)
    assert run_cli(capsys, *arguments, "--engine", "torch")[:2] == (0, native)
    status, _, notes = run_cli(capsys, *arguments, "--engine", "mlx")
    assert status == 1
    assert "error: --engine must be native, torch or transformers, not 'mlx'" in notes


def test_the_command_line_takes_a_format_of_the_kv_cache(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("generate", str(tiny_folder("llama")), "abc", "--max-new-tokens", "3", "--kv-cache")
    status, _, notes = run_cli(capsys, *arguments, "int8")
    assert (status, notes.splitlines()[0].endswith("int8 KV cache")) == (0, True)
    status, _, notes = run_cli(capsys, *arguments, "int8", "--engine", "torch")
    assert status == 1
    assert "only the native engine has it. Use --engine native" in notes
    status, _, notes = run_cli(capsys, *arguments, "fp8")
    assert status == 1
    assert "error: --kv-cache must be int8, not 'fp8'" in notes


def test_a_benchmark_on_the_command_line_reports_the_share_of_the_bandwidth(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("litgpt.adapters.native.read_bandwidth.SIZE", 1 << 20)
    folder = str(tiny_folder("llama"))
    arguments = ("benchmark", folder, "abc", "--temperature", "0", "--num-iterations", "2", "--json")
    figures = json.loads(run_cli(capsys, *arguments, "--engine", "native")[1])["figures"]
    assert [share > 0 for share in figures["Memory bandwidth reached in percent"]] == [True, True]
    figures = json.loads(run_cli(capsys, *arguments, "--engine", "torch")[1])["figures"]
    assert "Memory bandwidth reached in percent" not in figures


def test_a_conversation_continues_with_an_adapter(tmp_path: Path) -> None:
    options: dict[str, Any] = {"top_k": 1, "max_new_tokens": 8}
    with place("smollm2", engine="native") as llm:
        llm.add_lora(rank=2)
        with torch.no_grad():
            for name, weight in llm.named_parameters():
                if ".lora." in name:
                    weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
        llm.save_adapter(tmp_path / "adapter")
    with place("smollm2", engine="native") as model:
        plain = model.chat(**options).send(QUESTION)
        chat = model.chat(**options)
        assert chat.send(QUESTION) == plain
        model.load_adapter(tmp_path / "adapter", "mine")
        assert model.active_adapter == "mine"
        chat.undo()
        with LLM.load("smollm2", quiet=True) as reference:
            reference.load_adapter(tmp_path / "adapter")
            adapted = reference.chat(**options).send(QUESTION)
        assert chat.send(QUESTION) == adapted != plain
        model.set_adapter(None)
        assert model.chat(**options).send(QUESTION) == plain
