"""Tests of a Hugging Face folder as a checkpoint: reading without copies, and invalid folders."""

import gc
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.domain.errors import CorruptFile, InvalidArgument, MissingFile, UnsafeFile, UnsupportedOperation
from litgpt.domain.tokenizer_source import TokenizerFiles
from tests.adapters.tiny_models import FAMILIES, tiny_folder

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is mapped")


RUNS_CODE = """!!python/object/apply:builtins.exec ["raise SystemExit('the YAML ran')"]"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a writable copy of a folder."""
    return Path(shutil.copytree(tiny_folder("llama"), tmp_path / "model"))


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder("llama", sharded=True), tmp_path / "model"))


def mapped_from(path: Path) -> list[range]:
    """Return the addresses at which this process maps a file."""
    ranges = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(path)):
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            ranges.append(range(start, end))
    return ranges


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("sharded", [False, True], ids=["one file", "shards"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_is_what_transformers_wrote(family: str, sharded: bool, dtype: str) -> None:  # noqa: FBT001
    path = tiny_folder(family, sharded=sharded, dtype=dtype)
    files = sorted(path.glob("*.safetensors"))
    assert (len(files) > 2) == sharded
    wrote = {name: tensor for file in files for name, tensor in load_file(file).items()}
    checkpoint = open_hf_folder(path, "tiny")
    assert set(checkpoint.tensors) == set(wrote)
    for name, tensor in wrote.items():
        assert torch.equal(checkpoint.read(name), tensor)
        assert checkpoint.read(name).dtype == getattr(torch, dtype)
        assert checkpoint.tensors[name].nbytes == tensor.nbytes


def test_the_small_files_are_read() -> None:
    checkpoint = open_hf_folder(tiny_folder("gemma3_text"), "tiny")
    assert checkpoint.config["model_type"] == "gemma3_text"
    assert checkpoint.generation_config["eos_token_id"] == 1
    tokenizer = checkpoint.read_tokenizer()
    assert isinstance(tokenizer, TokenizerFiles)
    assert set(tokenizer.paths) == {"tokenizer.json", "config.json", "generation_config.json"}
    assert checkpoint.prompt_style is None
    assert checkpoint.folder == tiny_folder("gemma3_text")


def write_huge(weights: Path, huge: int) -> None:
    """Write a small tensor and a huge sparse one."""
    small = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    large = {"dtype": "F32", "shape": [huge // 4], "data_offsets": [16, 16 + huge]}
    text = json.dumps({"small": small, "large": large}).encode()
    weights.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(weights, 8 + len(text) + 16 + huge)


@linux_only
def test_weights_larger_than_any_memory_are_opened_unread_and_a_small_one_of_them_is_read(
    folder: Path,
) -> None:
    weights = folder / "model.safetensors"
    write_huge(weights, 2**41)
    checkpoint = open_hf_folder(folder, "huge")
    assert checkpoint.tensors["large"].nbytes == 2**41
    assert not mapped_from(weights)
    assert torch.equal(checkpoint.read("small"), torch.zeros(4))


@linux_only
def test_a_failed_mmap_is_not_reported_as_damage(folder: Path) -> None:
    import resource

    write_huge(folder / "model.safetensors", 2**41)
    checkpoint = open_hf_folder(folder, "huge")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**40, hard))
    try:
        with pytest.raises(UnsupportedOperation, match="smaller shards"):
            checkpoint.read("small")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@linux_only
def test_a_tensor_is_a_view_of_the_mapped_file(folder: Path) -> None:
    checkpoint = open_hf_folder(folder, "tiny")
    tensors = {name: checkpoint.read(name) for name in checkpoint.tensors}
    places = mapped_from(folder / "model.safetensors")
    assert len(places) == 1
    for name, tensor in tensors.items():
        assert tensor.data_ptr() in places[0], name
        assert tensor.data_ptr() + tensor.nbytes - 1 in places[0], name
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, "saving it would save the whole file"


@linux_only
def test_the_file_is_unmapped_when_closed_and_its_last_tensor_is_freed(folder: Path) -> None:
    checkpoint = open_hf_folder(folder, "tiny")
    first, second = (checkpoint.read(name) for name in list(checkpoint.tensors)[:2])
    checkpoint.close()
    del first
    assert mapped_from(folder / "model.safetensors")
    total = float(second.sum())
    assert total == total  # noqa: PLR0124 - the page can be read
    del second
    gc.collect()
    assert not mapped_from(folder / "model.safetensors")


def test_writing_to_a_tensor_leaves_the_file_and_other_readers_alone(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    checkpoint = open_hf_folder(folder, "tiny")
    name = "model.norm.weight"
    actual = checkpoint.read(name)
    original = actual.clone()
    actual.add_(1)
    assert torch.equal(open_hf_folder(folder, "tiny").read(name), original)
    assert (folder / "model.safetensors").read_bytes() == before


def test_another_dtype_is_a_separate_copy(folder: Path) -> None:
    checkpoint = open_hf_folder(folder, "tiny")
    converted = checkpoint.read("model.norm.weight", "bfloat16")
    assert torch.equal(converted, checkpoint.read("model.norm.weight").bfloat16())


def test_tensors_at_odd_places_and_of_every_dtype_are_read(folder: Path) -> None:
    wrote = {
        "a": torch.arange(3, dtype=torch.uint8),  # so that the following tensors have odd offsets
        "b": torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16),
        "c": torch.tensor([True, False]),
        "d": torch.arange(4, dtype=torch.int64),
        "e": torch.tensor(2.5, dtype=torch.float64),
        "f": torch.tensor([0.5, 448.0]).to(torch.float8_e4m3fn),
        "g": torch.empty(0, 5),
    }
    names = {"a": "U8", "b": "BF16", "c": "BOOL", "d": "I64", "e": "F64", "f": "F8_E4M3", "g": "F32"}
    described, data = {}, b""
    for name, tensor in wrote.items():
        raw = bytes(tensor.reshape(-1).view(torch.uint8).tolist()) if tensor.numel() else b""
        offsets = [len(data), len(data) + len(raw)]
        described[name] = {"dtype": names[name], "shape": list(tensor.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(described).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    checkpoint = open_hf_folder(folder, "odd")
    for name, tensor in wrote.items():
        assert checkpoint.read(name).dtype == tensor.dtype
        assert checkpoint.read(name).data_ptr() % tensor.element_size() == 0, "kernels expect it so"
        assert torch.equal(checkpoint.read(name).double(), tensor.double())


def test_a_prompt_style_that_litgpt_saved_is_named_and_not_imported(folder: Path) -> None:
    style = "class_path: no.such.module.Alpaca\ninit_args:\n  x: 1\n"
    (folder / "prompt_style.yaml").write_text(style)
    assert open_hf_folder(folder, "tiny").prompt_style == "Alpaca"


def test_a_pickle_beside_safetensors_is_never_opened(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"no pickle at all")
    (folder / "consolidated.pth").write_bytes(b"no pickle at all")
    assert open_hf_folder(folder, "tiny").tensors


def test_links_into_another_folder_are_followed_as_in_the_hub_s_cache(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    try:
        for file in folder.iterdir():
            (snapshot / file.name).symlink_to(file)
    except OSError:
        pytest.skip("this system makes no links for this user")
    assert open_hf_folder(snapshot, "tiny").tensors


# What is refused.


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123456\n"


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    parsed = json.loads(path.read_text())
    change(parsed)
    path.write_text(json.dumps(parsed))


def test_a_missing_config_is_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(MissingFile, match=r"config\.json is missing"):
        open_hf_folder(folder, "tiny")


@pytest.mark.parametrize(
    "text",
    [
        b'{"model_type": ',
        b"[1, 2]",
        b"",
        b'\xff\xfe{"a": 1}',
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "model.safetensors.index.json"])
def test_settings_that_are_not_json_are_damaged(sharded: Path, file: str, text: bytes) -> None:
    (sharded / file).write_bytes(text)
    with pytest.raises(CorruptFile, match=file):
        open_hf_folder(sharded, "tiny")


def test_settings_without_end_are_not_read_to_the_end(folder: Path) -> None:
    (folder / "config.json").write_text('{"a": "%s"}' % ("x" * 16_000_001))
    with pytest.raises(CorruptFile, match="larger than 16000000 bytes"):
        open_hf_folder(folder, "tiny")


def test_weights_that_are_cut_short_are_found_before_any_is_read(folder: Path) -> None:
    truncate(folder / "model.safetensors")
    with pytest.raises(CorruptFile, match=r"model\.safetensors is damaged"):
        open_hf_folder(folder, "tiny")


def test_a_shard_that_is_cut_short_is_named(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    truncate(shard)
    with pytest.raises(CorruptFile, match=shard.name):
        open_hf_folder(sharded, "tiny")


def test_a_shard_that_is_missing_is_named(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(MissingFile, match=shard.name):
        open_hf_folder(sharded, "tiny")


def test_an_absent_tensor_of_the_index_is_an_error_if_needed(sharded: Path) -> None:
    first, second = sorted(path.name for path in sharded.glob("*.safetensors"))[:2]
    index = sharded / "model.safetensors.index.json"
    names = list(open_hf_folder(sharded, "tiny").tensors)
    edit(index, lambda parsed: parsed["weight_map"].update({"mtp.fc.weight": first}))
    promised = open_hf_folder(sharded, "tiny")
    assert list(promised.tensors) == names
    assert promised.notes == (
        "model.safetensors.index.json lists a missing tensor that the model does not use (mtp.fc.weight).",
    )
    shard = load_file(sharded / second)
    lost = next(iter(shard))
    save_file({name: tensor for name, tensor in shard.items() if name != lost}, sharded / second)
    with pytest.raises(CorruptFile, match=rf"does not contain the tensor '{re.escape(lost)}'"):
        open_hf_folder(sharded, "tiny")


def test_an_unneeded_shard_may_be_missing_or_damaged(sharded: Path) -> None:
    names = open_hf_folder(sharded, "tiny").tensors
    index = sharded / "model.safetensors.index.json"
    unused = {"mtp.fc.weight": "mtp.safetensors", "mtp.norm.weight": "mtp-2.safetensors"}
    edit(index, lambda parsed: parsed["weight_map"].update(unused))
    (sharded / "mtp-2.safetensors").write_bytes(b"cut")
    opened = open_hf_folder(sharded, "tiny")
    assert opened.tensors == names
    assert "mtp-2.safetensors, mtp.safetensors cannot be read" in opened.notes[1]


def test_a_tensor_that_the_index_forgot_or_misplaced_is_found_in_its_shard(sharded: Path) -> None:
    names = set(open_hf_folder(sharded, "tiny").tensors)
    names_in = {path.name: [*load_file(path)] for path in sharded.glob("*.safetensors")}
    *_, largest = sorted(names_in, key=lambda name: len(names_in[name]))
    forgotten, misplaced, *_ = names_in[largest]
    other = min({*names_in} - {largest})
    index = sharded / "model.safetensors.index.json"
    edit(index, lambda parsed: parsed["weight_map"].pop(forgotten))
    edit(index, lambda parsed: parsed["weight_map"].update({misplaced: other}))
    assert set(open_hf_folder(sharded, "tiny").tensors) == names


def test_a_damaged_file_is_not_read_where_an_index_has_the_weights(sharded: Path) -> None:
    names = open_hf_folder(sharded, "tiny").tensors
    (sharded / "model.safetensors").write_bytes(b"half a download")
    opened = open_hf_folder(sharded, "tiny")
    assert opened.tensors == names
    assert opened.notes[0].startswith("model.safetensors cannot be read")


def test_weight_files_that_are_not_read_are_reported_as_ignored(folder: Path) -> None:
    for name in ("pytorch_model.bin", "consolidated.safetensors", "training_args.bin", "optimizer.pt"):
        (folder / name).write_bytes(b"whatever")
    for name in ("original", ".git", "checkpoint-123", ".cache"):
        (folder / name).mkdir()
        (folder / name / "model.safetensors").write_bytes(b"whatever")
    (note,) = open_hf_folder(folder, "tiny").notes
    names = "consolidated.safetensors, optimizer.pt, pytorch_model.bin, training_args.bin"
    assert note == f"{names} in its folder are ignored."


def test_a_dangling_link_is_called_one(folder: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        (folder / name).symlink_to("../../blobs/0123abcd")
        with pytest.raises(
            MissingFile,
            match=rf"{name} is missing: it is a link to \.\./\.\./blobs/0123abcd, which does not exist",
        ):
            open_hf_folder(folder, "tiny")
        (folder / name).unlink()
        whole = tiny_folder("llama")
        (folder / name).write_bytes((whole / name).read_bytes())


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_git_lfs_pointer_is_called_one(folder: Path, name: str) -> None:
    (folder / name).write_text(POINTER)
    with pytest.raises(MissingFile, match=rf"{name} is missing: .*Git LFS pointer.*git lfs pull"):
        open_hf_folder(folder, "tiny")


def test_a_shard_or_an_index_that_is_a_git_lfs_pointer_is_called_one(sharded: Path) -> None:
    for path in (min(sharded.glob("*.safetensors")), sharded / "model.safetensors.index.json"):
        path.write_text(POINTER)
        with pytest.raises(MissingFile, match=rf"{path.name} is missing: .*Git LFS pointer"):
            open_hf_folder(sharded, "tiny")


def test_an_lfs_pointer_or_a_link_beside_a_complete_tokenizer_is_ignored(folder: Path) -> None:
    (folder / "tokenizer.model").write_text(POINTER)
    (folder / "vocab.json").symlink_to("nowhere")
    tokenizer = open_hf_folder(folder, "tiny").read_tokenizer()
    assert isinstance(tokenizer, TokenizerFiles)
    assert {"tokenizer.model", "vocab.json"}.isdisjoint(tokenizer.paths)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "../other/model.safetensors",
        "sub/m.safetensors",
        r"..\m.safetensors",
        "C:m.safetensors",
        "/etc/passwd",
        3,
    ],
)
def test_the_index_may_not_name_a_file_outside_the_folder(sharded: Path, elsewhere: object) -> None:
    (sharded.parent / "other").mkdir()
    shutil.copy(next(sharded.glob("*.safetensors")), sharded.parent / "other" / "model.safetensors")
    index = sharded / "model.safetensors.index.json"
    edit(index, lambda parsed: parsed["weight_map"].update({"model.norm.weight": elsewhere}))
    with pytest.raises(CorruptFile, match="is not a safetensors file in this folder"):
        open_hf_folder(sharded, "tiny")


@pytest.mark.parametrize("weight_map", [None, {}, []])
def test_an_index_without_a_weight_map_is_damaged(sharded: Path, weight_map: object) -> None:
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CorruptFile, match="weight_map"):
        open_hf_folder(sharded, "tiny")


def test_shards_without_their_index_are_named(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").unlink()
    with pytest.raises(MissingFile, match=r"has model-00001.*index\.json"):
        open_hf_folder(sharded, "tiny")


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt", "pytorch_model-00001-of-00002.bin"])
def test_a_folder_of_only_an_unknown_pickle_is_refused(folder: Path, pickle: str) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"w": torch.ones(1)}, folder / pickle)
    with pytest.raises(UnsafeFile, match=rf"{pickle}.*save_pretrained"):
        open_hf_folder(folder, "tiny")


def test_trainer_states_are_not_mistaken_for_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for name in ("optimizer.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin"):
        torch.save({"lr": 0.1}, folder / name)
    with pytest.raises(
        MissingFile, match=r"no weights, only optimizer\.bin.*training_args\.bin\. Save the model"
    ):
        open_hf_folder(folder, "tiny")
    torch.save({"w": torch.ones(1)}, folder / "pytorch_model.bin")
    with pytest.raises(UnsafeFile, match=r"pytorch_model\.bin is a pickle"):
        open_hf_folder(folder, "tiny")


def test_a_pointer_to_a_pickle_is_called_one(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (folder / "pytorch_model.bin").write_text(pointer)
    with pytest.raises(MissingFile, match=r"pytorch_model\.bin is missing.*git lfs pull"):
        open_hf_folder(folder, "tiny")


def test_missing_weights_are_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingFile, match=r"model\.safetensors is missing: the folder has no weights"):
        open_hf_folder(folder, "tiny")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Alpaca",
        "class_path: 3",
        "class_path: 'a b'",
        "class_path: litgpt.prompts.",
        "class_path: litgpt.prompts.Alpaca\nmore: 1",
        RUNS_CODE,
        "class_path: !!python/name:os.system",
        "class_path: [",
    ],
)
def test_a_prompt_style_that_is_more_than_a_name_is_damaged(folder: Path, text: str) -> None:
    (folder / "prompt_style.yaml").write_text(text)
    with pytest.raises(CorruptFile, match=r"prompt_style\.yaml"):
        open_hf_folder(folder, "tiny")


def test_a_tensor_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"one of the tensors of tiny, not 'model\.none'"):
        open_hf_folder(folder, "tiny").read("model.none")


def test_a_file_that_changes_between_opening_and_reading_is_noticed(folder: Path) -> None:
    checkpoint = open_hf_folder(folder, "tiny")
    truncate(folder / "model.safetensors")
    with pytest.raises(CorruptFile, match="now has"):
        checkpoint.read("model.norm.weight")


def test_a_file_that_goes_between_opening_and_reading_is_noticed(folder: Path) -> None:
    checkpoint = open_hf_folder(folder, "tiny")
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingFile, match="after the model was opened"):
        checkpoint.read("model.norm.weight")


def test_a_dtype_that_torch_has_not_is_refused_when_it_is_read(folder: Path) -> None:
    text = json.dumps({"w": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"\0\0")
    with pytest.raises(NotImplementedError, match="F4"):
        open_hf_folder(folder, "tiny").read("w")
