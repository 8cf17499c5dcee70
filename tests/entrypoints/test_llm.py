"""Tests of LLM on a tiny model: arguments, errors, memory, state dicts."""

import gc
import math
import weakref
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from litgpt import LLM
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.errors import (
    CorruptFile,
    InvalidArgument,
    LitGPTError,
    MissingFile,
    ModelNotFound,
    NotDistributed,
    PromptTooLong,
    WrongType,
)
from tests.adapters.tiny_models import tiny_folder

CONTEXT = 256

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder() -> str:
    return str(tiny_folder("llama"))


@pytest.fixture(scope="module")
def llm(folder: str) -> Iterator[LLM]:
    with LLM.load(folder, distribute=None, quiet=True) as loaded:
        loaded.distribute(accelerator="cpu", precision="32-true")
        yield loaded


def head_of(llm: LLM) -> torch.Tensor:
    assert llm.model is not None
    return llm.model.lm_head.weight


def test_a_list_gives_each_prompt_the_answer_that_it_gets_alone(llm: LLM) -> None:
    prompts = ["a", "a longer prompt than the first", "the third"]
    together = llm.generate(prompts, top_k=1, max_new_tokens=20)
    assert together == [llm.generate(prompt, top_k=1, max_new_tokens=20) for prompt in prompts]
    assert llm.generate(prompts[:1], top_k=1) == [llm.generate(prompts[0], top_k=1)]


def test_a_seed_gives_a_prompt_the_same_answer_alone_and_in_a_list(llm: LLM) -> None:
    options: dict[str, Any] = {"seed": 3, "temperature": 2.0, "top_p": 0.9, "max_new_tokens": 20}
    assert llm.generate(["one", "another"], **options)[1] == llm.generate("another", **options)
    assert llm.generate("another", **options) != llm.generate("another", **(options | {"seed": 4}))


def test_without_a_seed_torchs_own_repeats_a_run(llm: LLM) -> None:
    answers = []
    for _ in range(2):
        torch.manual_seed(7)
        answers.append([llm.generate("hello", temperature=2.0) for _ in range(2)])
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


def test_a_list_is_streamed_in_turns(llm: LLM) -> None:
    prompts = ["a", "bb", "ccc"]
    texts = ["", "", ""]
    for index, piece in llm.generate(prompts, top_k=1, stream=True):
        texts[index] += piece
    assert texts == llm.generate(prompts, top_k=1)


def test_two_streams_on_one_object_do_not_disturb_each_other(llm: LLM) -> None:
    first, other = (llm.generate(prompt, top_k=1, stream=True) for prompt in ("first prompt", "second one"))
    pieces: list[list[str]] = [[], []]
    for a, b in zip_longest(first, other, fillvalue=""):  # zip would take a piece of the longer and drop it
        pieces[0].append(a)
        pieces[1].append(b)
    assert llm.generate("first prompt", top_k=1) == "".join(pieces[0])
    assert llm.generate("second one", top_k=1) == "".join(pieces[1])


def test_log_probabilities_are_those_of_the_logits(llm: LLM) -> None:
    answer = llm.complete("hello", temperature=1.5, seed=1, max_new_tokens=6, logprobs=True)
    prompt = llm.tokenizer.encode("hello").tolist()
    with torch.inference_mode():
        logits = llm(torch.tensor([prompt + list(answer.token_ids)]))[0].log_softmax(-1)
    expected = [float(logits[len(prompt) - 1 + at, token]) for at, token in enumerate(answer.token_ids)]
    assert answer.logprobs == pytest.approx(expected, abs=1e-4)
    assert llm.generate("hello", seed=1, logprobs=True).logprobs is not None
    assert llm.complete("hello").logprobs is None


def test_the_context_is_a_bound_and_no_error(llm: LLM) -> None:
    answer = llm.complete("x" * (CONTEXT - 3), max_new_tokens=50, top_k=1)
    assert answer.completion_tokens <= 3
    assert llm.complete("x", max_new_tokens=None, seed=1).completion_tokens <= CONTEXT - 1


def test_a_fixed_cache_is_a_bound_too(folder: str) -> None:
    with LLM.load(folder, distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu", precision="32-true", fixed_kv_cache_size=16)
        assert llm.complete("x" * 10, max_new_tokens=50, top_k=1).completion_tokens <= 6
        with pytest.raises(PromptTooLong, match="16"):
            llm.generate("x" * 16)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prompt": ""}, InvalidArgument, "prompt"),
        ({"prompt": 3}, WrongType, "prompt"),
        ({"prompt": b"bytes"}, WrongType, "prompt"),
        ({"prompt": None}, WrongType, "prompt"),
        ({"prompt": []}, InvalidArgument, "prompt"),
        ({"prompt": ["fine", ""]}, InvalidArgument, "prompt"),
        ({"prompt": ["fine", 3]}, WrongType, "messages"),
        ({"prompt": [{"role": "user"}]}, WrongType, "messages"),
        ({"prompt": "x" * CONTEXT}, PromptTooLong, f"{CONTEXT} tokens"),
        ({"prompt": "x", "top_k": 0}, InvalidArgument, "top_k"),
        ({"prompt": "x", "top_p": 2}, InvalidArgument, "top_p"),
        ({"prompt": "x", "temperature": -1}, InvalidArgument, "temperature"),
        ({"prompt": "x", "max_new_tokens": -1}, InvalidArgument, "max_new_tokens"),
        ({"prompt": "x", "max_new_tokens": 2.5}, WrongType, "max_new_tokens"),
        ({"prompt": "x", "stop": [""]}, InvalidArgument, "stop"),
        ({"prompt": "x", "seed": "one"}, WrongType, "seed"),
        ({"prompt": "x", "sys_prompt": 3}, WrongType, "sys_prompt"),
        ({"prompt": "x", "logprobs": 1}, WrongType, "logprobs"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_argument_is_refused_at_the_call(
    llm: LLM, arguments: dict[str, Any], error: type[LitGPTError], message: str, *, stream: bool
) -> None:
    with pytest.raises(error, match=message):
        llm.generate(**arguments, stream=stream)


def test_no_tokens_are_an_empty_answer(llm: LLM) -> None:
    answer = llm.complete("x", max_new_tokens=0)
    assert (answer.text, answer.token_ids, answer.finish_reason) == ("", (), "length")
    assert list(llm.generate("x", max_new_tokens=0, stream=True)) == []


def test_without_a_device_model_is_none_and_calls_raise(folder: str) -> None:
    with LLM.load(folder, distribute=None, quiet=True) as llm:
        assert llm.model is None
        assert llm.preprocessor.device == ("cuda" if torch.cuda.is_available() else "cpu")
        for call in (lambda: llm.generate("x"), lambda: llm(torch.tensor([[1]])), llm.chat):
            with pytest.raises(
                NotDistributed, match=r"use the \.distribute\(\) or \.trainer_setup\(\) method"
            ):
                call()
        assert llm.tokenizer.decode(llm.tokenizer.encode("héllo 🦙")) == "héllo 🦙"


@pytest.mark.parametrize("argument", [{"precision": "bf16"}, {"quantize": "nf4"}, {"devices": 0}])
def test_arguments_that_are_refused_leave_the_model_where_it_is(
    folder: str, argument: dict[str, Any]
) -> None:
    with LLM.load(folder, quiet=True) as llm:
        model = llm.model
        with pytest.raises(InvalidArgument):
            llm.distribute(**argument)
        assert llm.model is model
        assert llm.generate("x", max_new_tokens=1, seed=1) is not None


def test_a_module_that_replaces_the_network_generates_in_its_place(folder: str) -> None:
    class Counted(nn.Module):
        calls = 0

        def __init__(self, network: GPT) -> None:
            super().__init__()
            self.network = network

        def __getattr__(self, name: str) -> Any:
            return super().__getattr__(name) if name == "network" else getattr(self.network, name)

        def forward(self, *inputs: Any, **options: Any) -> Any:
            self.calls += 1
            return self.network(*inputs, **options)

    with LLM.load(folder, quiet=True) as llm:
        expected = llm.generate("x", max_new_tokens=3, seed=1)
        assert llm.model is not None
        llm.model = counted = cast("Any", Counted(llm.model))
        assert llm.generate("x", max_new_tokens=3, seed=1) == expected
        assert counted.calls == 3


def test_leaving_the_block_frees_the_memory(folder: str) -> None:
    with LLM.load(folder, quiet=True) as llm:
        weights = weakref.ref(head_of(llm))
        stream = llm.generate("hello", stream=True, seed=1)
        next(stream)
        del stream
    assert llm.model is None
    gc.collect()
    assert weights() is None
    with pytest.raises(NotDistributed):
        llm.generate("hello")


def test_a_dropped_stream_frees_its_cache_at_once(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(engine="torch")
    from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache

    caches: list[weakref.ref[KVCache]] = []
    empty = KVCache.empty

    def remembered(*args: Any, **more: Any) -> KVCache:
        cache = empty(*args, **more)
        caches.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr(KVCache, "empty", remembered)
    gc.disable()
    try:
        stream = llm.generate("hello", stream=True, seed=1)
        next(stream)
        assert caches[0]() is not None
        del stream
        assert caches[0]() is None
    finally:
        gc.enable()


def test_it_can_be_placed_again(folder: str) -> None:
    with LLM.load(folder, quiet=True) as llm:
        llm.distribute(accelerator="cpu", precision="32-true")
        assert head_of(llm).dtype == torch.float32
        llm.distribute(accelerator="cpu", precision="bf16-true")
        assert head_of(llm).dtype == torch.bfloat16
        llm.close()
        llm.distribute(accelerator="cpu")
        llm.generate("x", max_new_tokens=1)


def test_the_config_answers_to_litgpts_names(llm: LLM, folder: str) -> None:
    config = llm.config
    assert (config.n_layer, config.n_head, config.n_query_groups, config.n_embd) == (3, 4, 2, 48)
    assert (config.head_size, config.block_size, config.vocab_size, config.padded_vocab_size) == (
        12,
        256,
        288,
        288,
    )
    assert config.name == Path(folder).name
    assert llm.checkpoint_dir == Path(folder)
    assert (llm.fabric, llm.devices, llm.generate_strategy) == (None, 1, None)


def test_a_state_dict_has_litgpts_names_and_no_model_level(llm: LLM) -> None:
    names = set(llm.state_dict())
    assert {"lm_head.weight", "transformer.wte.weight", "transformer.h.2.attn.qkv.weight"} <= names
    assert not any(name.startswith("model.") for name in names)


def test_an_outer_module_saves_and_restores_it(folder: str) -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.llm = LLM.load(folder, quiet=True)
            self.more = nn.Linear(2, 2)

    outer, other = Outer(), Outer()
    with torch.no_grad():
        head_of(outer.llm).add_(1)
    saved = {name: tensor.clone() for name, tensor in outer.state_dict().items()}
    assert "llm.lm_head.weight" in saved
    other.load_state_dict(saved, strict=True)
    assert torch.equal(head_of(other.llm), head_of(outer.llm))
    del saved["llm.lm_head.weight"]
    with pytest.raises(RuntimeError, match=r"lm_head\.weight"):
        other.load_state_dict(saved, strict=True)


def test_writing_to_the_weights_does_not_write_to_the_file(folder: str) -> None:
    before = (Path(folder) / "model.safetensors").read_bytes()
    with LLM.load(folder, distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu", precision="32-true")
        with torch.no_grad():
            head_of(llm).zero_()
    assert (Path(folder) / "model.safetensors").read_bytes() == before


def test_calling_returns_logits_and_the_shifted_loss(llm: LLM) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    labels = torch.tensor([[-100, 6, -100, 8]])
    with torch.inference_mode():
        logits, loss = llm(ids, labels)
        assert logits.shape == (1, 4, 288)
        expected = -(logits.log_softmax(-1)[0, 0, 6] + logits.log_softmax(-1)[0, 2, 8]) / 2
    assert float(loss) == pytest.approx(float(expected), abs=1e-6)
    assert math.isclose(float(llm(ids, labels, lambda _, __: torch.tensor(3.0))[1]), 3.0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "smollm3"}, ModelNotFound, r"Looked in: .*Did you mean smollm2"),
        ({"model": ""}, InvalidArgument, "model"),
        ({"model": 3}, WrongType, "model"),
        ({"model": "smollm2", "init": "zeros"}, InvalidArgument, "init"),
        ({"model": "smollm2", "distribute": "all"}, InvalidArgument, "distribute"),
        (
            {"model": "smollm2", "tokenizer_dir": "no/such/folder"},
            ModelNotFound,
            r"'no/such/folder'\. Looked in: the path itself; .*checkpoints; .*the Hugging Face Hub",
        ),
    ],
)
def test_invalid_arguments_of_load_are_refused(
    arguments: Any, error: type[LitGPTError], message: str
) -> None:
    with pytest.raises(error, match=message):
        LLM.load(**arguments, offline=True, quiet=True)


def test_an_invalid_chat_file_is_refused(llm: LLM, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"messages": 3}')
    with pytest.raises(CorruptFile, match=r"is not a saved chat.* Pass a file that Chat.save wrote"):
        llm.chat(resume=tmp_path / "other.json")
    (tmp_path / "other.json").write_text('[{"role": "user"')
    with pytest.raises(CorruptFile, match=r"is not JSON .*line 1 column"):
        llm.chat(resume=tmp_path / "other.json")
    with pytest.raises(CorruptFile, match="is a directory"):
        llm.chat(resume=tmp_path)
    with pytest.raises(MissingFile, match="missing"):
        llm.chat(resume=tmp_path / "nothing.json")


def test_notices_go_to_stderr_unless_it_is_quiet(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    LLM.load(folder).close()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Using the native engine (")
    LLM.load(folder, quiet=True).close()
    assert capsys.readouterr().err == ""
