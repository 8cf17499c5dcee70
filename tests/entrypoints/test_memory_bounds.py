"""Tests of requests beyond the memory: refused with both figures before the allocation."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from litgpt import LLM
from litgpt.adapters.pytorch.runtime.out_of_memory import is_out_of_memory, translate_out_of_memory
from litgpt.cli.main import run
from litgpt.domain.errors import LitGPTError, UnsupportedOperation
from litgpt.training import TrainConfig, train
from tests.adapters.tiny_models import tiny_folder

RECORDS = (json.dumps({"instruction": "a", "output": "b", "text": "ab" * 400}) + "\n") * 4
FIGURES = r"needs [\d,.]+ GB of memory and [\d,.]+ GB are available\."

pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def bounded() -> Iterator[None]:
    """Limit the CPU time to ten seconds and the memory to 1 GB."""
    began, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 10**6  # in KiB


@pytest.fixture(scope="module")
def tiny() -> Path:
    return tiny_folder("llama")


@pytest.fixture(scope="module")
def llm(tiny: Path) -> Iterator[LLM]:
    with LLM.load(str(tiny), quiet=True) as loaded:
        yield loaded


def with_config(tiny: Path, folder: Path, **changes: Any) -> Path:
    """Return a copy of the tiny model with other config values."""
    for path in tiny.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((tiny / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


ABSURD: tuple[dict[str, Any], ...] = (
    {"vocab_size": 10**9},
    {"vocab_size": 10**12},
    {"hidden_size": 2**20, "num_attention_heads": 2**14, "num_key_value_heads": 2**14, "head_dim": 64},
    {"intermediate_size": 10**10},
    {"head_dim": 2**30},
)


@pytest.mark.parametrize("changes", ABSURD, ids=str)
def test_random_weights_that_no_memory_holds(tiny: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = str(with_config(tiny, tmp_path, **changes))
    with bounded():
        with pytest.raises(UnsupportedOperation, match=FIGURES) as caught:
            LLM.load(folder, init="random", quiet=True)
        assert len(str(caught.value)) < 400
        with LLM.load(folder, init="random", distribute=None, quiet=True) as llm:
            places: tuple[Callable[[], None], ...] = (
                llm.distribute,
                llm.trainer_setup,
                lambda: llm.distribute(quantize="int4"),
            )
            for place in places:
                with pytest.raises(UnsupportedOperation, match=FIGURES):
                    place()


def test_training_of_random_weights_that_no_memory_holds(tiny: Path, tmp_path: Path) -> None:
    folder = with_config(tiny, tmp_path, vocab_size=10**10)
    (tmp_path / "data.jsonl").write_text(RECORDS)
    with bounded(), pytest.raises(UnsupportedOperation, match=FIGURES):
        train(
            TrainConfig(
                task="pretrain",
                model=str(folder),
                init="random",
                data=str(tmp_path / "data.jsonl"),
                out_dir=str(tmp_path / "out"),
                max_steps=1,
            )
        )


@pytest.mark.parametrize("size", ["max_model_supported", 10**12])
def test_a_fixed_cache_that_no_memory_holds_leaves_the_model_where_it_is(
    tiny: Path, tmp_path: Path, size: Any
) -> None:
    folder = with_config(tiny, tmp_path, max_position_embeddings=10**12)
    with bounded(), LLM.load(str(folder), quiet=True) as llm:
        before = llm.generate("hello", top_k=1, max_new_tokens=5)
        with pytest.raises(UnsupportedOperation, match=rf"fixed_kv_cache_size=.*{FIGURES}"):
            llm.distribute(fixed_kv_cache_size=size, engine="torch")
        assert llm.generate("hello", top_k=1, max_new_tokens=5) == before
        llm.distribute(fixed_kv_cache_size=100, engine="torch")
        assert llm.generate("hello", top_k=1, max_new_tokens=5) == before


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"targets": "all-linear"}], ids=str)
def test_an_adapter_that_no_memory_holds_changes_nothing(llm: LLM, options: dict[str, Any]) -> None:
    before = llm.generate("hello", top_k=1, max_new_tokens=5)
    with bounded(), pytest.raises(UnsupportedOperation, match=rf"rank=1000000000 .*{FIGURES}"):
        llm.add_lora(10**9, **options)
    assert llm.adapters == ()
    assert llm.generate("hello", top_k=1, max_new_tokens=5) == before


@pytest.mark.parametrize(
    "changes", [{"r": 10**9}, {"rank_pattern": {"q_proj": 10**12}}, {"r": 10**400}], ids=str
)
def test_the_settings_of_an_adapter_are_not_allocated_by(
    llm: LLM, tmp_path: Path, changes: dict[str, Any]
) -> None:
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    save_file(
        {name.format("A"): torch.zeros(2, 48), name.format("B"): torch.zeros(48, 2)},
        tmp_path / "adapter_model.safetensors",
    )
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | changes))
    with bounded(), pytest.raises(LitGPTError):
        llm.load_adapter(tmp_path)
    assert llm.adapters == ()


def test_the_command_line_refuses_in_one_short_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(with_config(tiny, tmp_path, vocab_size=10**10))
    (tmp_path / "data.jsonl").write_text(RECORDS)
    data = ["--data", str(tmp_path / "data.jsonl"), "--out-dir", str(tmp_path / "out"), "--max-steps", "1"]
    commands = (
        ["pretrain", folder, "--init", "random", *data],
        ["finetune", str(tiny), "--lora-rank", "1000000000", *data],
    )
    for command in commands:
        with bounded():
            assert run(command) == 1
        output = capsys.readouterr().err.strip().splitlines()[-1]
        assert "GB are available" in output
        assert len(output) < 400


def test_a_failed_allocation_is_out_of_reach_with_the_figures_and_others_are_not_touched() -> None:
    with (
        pytest.raises(
            UnsupportedOperation, match=r"Generating is not possible: .* needs 8,000,000\.0 GB and [\d,.]+ GB"
        ),
        translate_out_of_memory("Generating"),
    ):
        torch.empty(10**15, dtype=torch.float64)
    with pytest.raises(UnsupportedOperation), translate_out_of_memory("Generating"):
        torch.empty(2**62, 2**62)
    with pytest.raises(UnsupportedOperation), translate_out_of_memory("Generating"):
        bytearray(2**62)
    cuda = (
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.1 GiB of which "
        "7.50 GiB is free."
    )
    with (
        pytest.raises(UnsupportedOperation, match=r"needs 20\.00 GiB and 7\.50 GiB are available"),
        translate_out_of_memory("Generating"),
    ):
        raise torch.OutOfMemoryError(cuda)
    with pytest.raises(RuntimeError, match="shapes"), translate_out_of_memory("Generating"):
        raise RuntimeError("shapes differ")
    assert not is_out_of_memory(UnsupportedOperation("This", "CUDA out of memory"))


CHILD = """
import resource, sys
from litgpt import LLM
from litgpt.domain.errors import UnsupportedOperation
import torch
torch.set_num_threads(1)
llm = LLM.load(sys.argv[1], distribute=None, quiet=True)
llm.distribute(engine="torch")
before = llm.generate("hello", top_k=1, max_new_tokens=5)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000, resource.RLIM_INFINITY))
prompts = ["x" * 200] * 600  # the engine computes as many together as memory holds
ids = torch.ones(3000, 200, dtype=torch.long)
for ask in (lambda: llm.generate(prompts, max_new_tokens=50), lambda: llm(ids)):
    try:
        ask()
        print("computed")
    except UnsupportedOperation as error:
        print(error)
chat = llm.chat(max_new_tokens=3)
chat.send("hello")
assert llm.generate("hello", top_k=1, max_new_tokens=5) == before
try:
    llm.add_lora(200_000)
except UnsupportedOperation as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
llm.add_lora(2)
print(llm.generate(prompts[:50], max_new_tokens=1)[0] is not None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is enforced there")
def test_what_memory_does_not_hold_is_refused_and_the_next_answer_is_right(tiny: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tiny)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    batch, forward, rank, after = done.stdout.splitlines()
    assert batch == "computed"
    assert forward.startswith("A forward pass is not possible: not enough memory")
    assert rank.startswith("rank=200000 is not possible: it needs 0.")
    assert after == "True"
