"""Tests of the Hugging Face writer: atomic, in one file or in shards, without leftovers."""

import json
import os
import signal
import sys
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import attrs
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.checkpoints.hf.safetensors_writer import plan_shards
from litgpt.adapters.checkpoints.hf.writer import HFWriter
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.ports import ModelToSave
from litgpt.domain.progress import Progress, null_reporter
from litgpt.domain.tokenizer_source import TokenizerFiles
from litgpt.domain.weights.tensor_info import TensorInfo
from tests.contracts.distribution_strategy import CONFIG

WHOLE = torch.arange(60, dtype=torch.bfloat16).view(6, 10)


@attrs.frozen
class Tensors:
    """Views of one tensor, like queries, keys and values; reading one of them may fail."""

    values: dict[str, Tensor]
    fails_at: str | None = None
    quantization: None = None
    notes: tuple[str, ...] = ()

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        return {
            name: TensorInfo(tuple(value.shape), "BF16", value.nbytes) for name, value in self.values.items()
        }

    def read(self, name: str) -> Tensor:
        if name == self.fails_at:
            raise OSError(28, "No space left on device")
        return self.values[name]


class Killing(Tensors):
    """Tensors whose reading kills the process."""

    def read(self, name: str) -> Tensor:
        if name == self.fails_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.values[name]


def model(**changed: Any) -> ModelToSave[Tensor]:
    values = {"a": WHOLE[:2], "b": WHOLE[2:], "c": torch.tensor(3.0, dtype=torch.bfloat16)}
    return ModelToSave(
        **{
            "name": "tiny",
            "config": CONFIG,
            "generation_config": {"eos_token_id": 7},
            "prompt_style": "Alpaca",
            "tokenizer": {"tokenizer.json": b"{}", "config.json": b"not this one"},
            "weights": Tensors(values),
            **changed,
        }
    )


@pytest.mark.parametrize("shard_bytes", [1_000_000, 50, 1])
def test_a_written_model_is_read_back(tmp_path: Path, shard_bytes: int) -> None:
    HFWriter(shard_bytes)(tmp_path, model(), null_reporter)
    opened = open_hf_folder(tmp_path, "tiny")
    for name, tensor in model().weights.values.items():  # type: ignore[attr-defined]
        assert torch.equal(opened.read(name), tensor)
    assert opened.config == CONFIG | {"torch_dtype": "bfloat16"}
    assert opened.generation_config == {"eos_token_id": 7}
    assert opened.prompt_style == "Alpaca"
    tokenizer = opened.read_tokenizer()
    assert isinstance(tokenizer, TokenizerFiles)
    assert tokenizer.paths["tokenizer.json"].read_bytes() == b"{}"


def test_the_library_safetensors_reads_it_too(tmp_path: Path) -> None:
    HFWriter()(tmp_path, model(), null_reporter)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert torch.equal(file.get_tensor("b"), WHOLE[2:])


def test_a_shard_holds_as_much_as_fits_and_a_larger_tensor_has_one_for_itself() -> None:
    sizes = {"a": 40, "b": 50, "c": 200, "d": 10, "e": 90}
    tensors = {name: TensorInfo((size // 2,), "BF16", size) for name, size in sizes.items()}
    assert plan_shards(tensors, 100) == [["a", "b"], ["c"], ["d", "e"]]


def test_the_index_has_each_tensors_shard_and_the_total_size(tmp_path: Path) -> None:
    HFWriter(50)(tmp_path, model(), null_reporter)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 122
    assert index["weight_map"] == {
        "a": "model-00001-of-00003.safetensors",
        "b": "model-00002-of-00003.safetensors",
        "c": "model-00003-of-00003.safetensors",
    }


def test_nothing_of_the_model_before_is_left(tmp_path: Path) -> None:
    HFWriter(50)(tmp_path, model(), null_reporter)
    HFWriter()(tmp_path, model(prompt_style=None), null_reporter)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    HFWriter(50)(tmp_path, model(), null_reporter)
    assert not (tmp_path / "model.safetensors").exists()
    assert open_hf_folder(tmp_path, "tiny").tensors.keys() == {"a", "b", "c"}


def test_a_failure_leaves_what_was_there_and_nothing_half_written(tmp_path: Path) -> None:
    HFWriter()(tmp_path, model(), null_reporter)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    broken = model(weights=Tensors({"a": WHOLE[2:], "b": WHOLE[:2]}, fails_at="b"))
    with pytest.raises(UnsupportedOperation, match=r"no space left on device\. Choose"):
        HFWriter()(tmp_path, broken, null_reporter)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not forked there")
def test_a_process_that_is_killed_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    HFWriter()(tmp_path, model(), null_reporter)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    killed = os.fork()
    if not killed:
        broken = model(weights=Killing({"a": WHOLE[2:], "b": WHOLE[:2]}, fails_at="b"))
        HFWriter()(tmp_path, broken, null_reporter)
    assert os.waitstatus_to_exitcode(os.waitpid(killed, 0)[1]) == -signal.SIGKILL
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert torch.equal(open_hf_folder(tmp_path, "tiny").read("a"), WHOLE[:2])
    HFWriter()(tmp_path, model(), null_reporter)
    assert {path.name for path in tmp_path.iterdir()} == set(before)  # its partial files are removed too


def test_a_destination_that_is_not_a_folder_is_a_litgpt_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnsupportedOperation, match="Saving to"):
        HFWriter()(tmp_path / "file" / "folder", model(), null_reporter)


def test_progress_is_reported_per_tensor(tmp_path: Path) -> None:
    events: list[Any] = []
    HFWriter(50)(tmp_path, model(), events.append)
    assert [value.completed for value in events if isinstance(value, Progress)] == [0, 1, 2, 3]


def filled(number: int) -> ModelToSave[Tensor]:
    """Return a model whose weights and config are all one number."""
    values = {name: torch.full((4, 10), number, dtype=torch.bfloat16) for name in "abcd"}
    return model(weights=Tensors(values), config=CONFIG | {"of": number})


def numbers_in(folder: Path) -> set[object]:
    opened = open_hf_folder(folder, "tiny")
    return {float(number) for name in "abcd" for number in opened.read(name).flatten()} | {
        opened.config["of"]
    }


def test_of_two_concurrent_saves_the_last_is_complete(tmp_path: Path) -> None:
    """One writes a file, the other shards; neither removes the other's incomplete files."""
    together, errors = Barrier(2, timeout=120), list[BaseException]()

    def save(number: int, shard_bytes: int) -> None:
        try:
            for _ in range(10):
                together.wait()
                HFWriter(shard_bytes)(tmp_path, filled(number), null_reporter)
                together.wait()
                assert numbers_in(tmp_path) in ({1.0}, {2.0})
        except BaseException as error:  # noqa: BLE001 - the calling thread reports it
            errors.append(error)
            together.abort()

    threads = [Thread(target=save, args=value) for value in ((1, 1_000_000), (2, 100))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not forked there")
def test_a_save_leaves_another_processs_partial_files_alone(tmp_path: Path) -> None:
    ready_end, paused = os.pipe()
    go, reader = os.pipe()
    child = os.fork()
    if not child:

        class Waiting(Tensors):
            def read(self, name: str) -> Tensor:
                if name == "d":
                    os.write(paused, b".")
                    os.read(go, 1)
                return self.values[name]

        slow = attrs.evolve(filled(1), weights=Waiting(filled(1).weights.values))  # type: ignore[attr-defined]
        try:
            HFWriter()(tmp_path, slow, null_reporter)
        except BaseException:  # noqa: BLE001 - a child must not go on with the tests
            os._exit(1)
        os._exit(0)
    os.close(paused)
    assert os.read(ready_end, 1) == b"."
    HFWriter()(tmp_path, filled(2), null_reporter)
    assert numbers_in(tmp_path) == {2.0}
    os.write(reader, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert numbers_in(tmp_path) == {1.0}
