"""Tests of a GGUF file as a checkpoint."""

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.domain.errors import CorruptFile, InvalidArgument, MissingFile
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.weights.tensor_info import TensorInfo
from tests.adapters.gguf_files import llama_tensors, write_gguf

UP, NORM = "model.layers.0.mlp.up_proj.weight", "model.norm.weight"


def test_a_checkpoint_has_its_name_and_location(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", stored_as="Q8_0")
    checkpoint = open_gguf(path, "tiny")
    assert checkpoint.name == "tiny"
    assert checkpoint.origin == f"the GGUF file {path}"
    assert checkpoint.folder == tmp_path
    assert checkpoint.prompt_style is None
    assert checkpoint.tensors[UP] == TensorInfo((96, 64), "Q8_0", 96 * 2 * 34)
    assert checkpoint.tensors[NORM] == TensorInfo((64,), "F32", 256)
    checkpoint.fetch(null_reporter)  # there is nothing to fetch


@pytest.mark.parametrize(("stored_as", "dtype"), [("F16", torch.float16), ("BF16", torch.bfloat16)])
def test_a_tensor_stored_in_the_requested_dtype_is_a_view_of_the_file(
    stored_as: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", stored_as=stored_as), "m")
    first, second = checkpoint.read(UP), checkpoint.read(UP)
    assert first.dtype == dtype
    assert first.data_ptr() == second.data_ptr()  # a copy would be elsewhere
    assert first.untyped_storage().data_ptr() == checkpoint.read(UP).untyped_storage().data_ptr()
    expected = torch.from_numpy(llama_tensors()["blk.0.ffn_up.weight"])
    assert torch.equal(first, expected.to(dtype))
    assert checkpoint.read(UP, "float32").data_ptr() != first.data_ptr()


def test_rows_that_were_interleaved_are_never_the_file_s_own_memory(tmp_path: Path) -> None:
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf"), "m")
    name = "model.layers.0.self_attn.q_proj.weight"
    first, second = checkpoint.read(name), checkpoint.read(name)
    assert first.data_ptr() != second.data_ptr()
    assert torch.equal(first, second)


def test_a_quantized_tensor_is_read_in_float32_by_default(tmp_path: Path) -> None:
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", stored_as="Q4_0"), "m")
    assert checkpoint.read(UP).dtype == torch.float32
    assert checkpoint.read(UP, "bfloat16").dtype == torch.bfloat16


def test_a_tensor_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"blk\.0\.ffn_up\.weight"):
        open_gguf(write_gguf(tmp_path / "m.gguf"), "m").read("blk.0.ffn_up.weight")


def test_tensors_stay_valid_when_the_checkpoint_is_closed_and_it_can_be_read_again(tmp_path: Path) -> None:
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf"), "m")
    tensor = checkpoint.read(UP)
    before = tensor.clone()
    checkpoint.close()
    gc.collect()
    assert torch.equal(tensor, before)
    assert torch.equal(checkpoint.read(UP), before)
    checkpoint.read_tokenizer()


def test_writing_to_a_tensor_does_not_change_the_file(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    before = path.read_bytes()
    open_gguf(path, "m").read(UP).zero_()
    gc.collect()
    assert path.read_bytes() == before


def test_a_file_that_was_exchanged_after_it_was_opened_is_not_read(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", stored_as="Q8_0")
    checkpoint = open_gguf(path, "m")
    write_gguf(path, stored_as="Q4_0")
    with pytest.raises(CorruptFile, match="changed since"):
        checkpoint.read(UP)
    path.unlink()
    with pytest.raises(MissingFile):
        checkpoint.read(NORM)
    with pytest.raises(MissingFile):
        checkpoint.read_tokenizer()


def parts(folder: Path, *, at_most: int = 8) -> list[Path]:
    write_gguf(folder / "m.gguf", parts=at_most)
    return sorted(folder.glob("m-*.gguf"))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_split_model_is_opened_by_any_of_its_files(part: int, tmp_path: Path) -> None:
    files = parts(tmp_path)
    assert [file.name for file in files] == [f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    checkpoint = open_gguf(files[part], "m")
    whole = open_gguf(write_gguf(tmp_path / "whole.gguf"), "m")
    assert checkpoint.config == whole.config
    assert checkpoint.tensors == whole.tensors
    for name in whole.tensors:
        assert torch.equal(checkpoint.read(name), whole.read(name)), name


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    files = parts(tmp_path)
    files[1].unlink()
    with pytest.raises(
        MissingFile, match=r"m-00002-of-00003\.gguf is missing: it is one of the 3 parts of m"
    ):
        open_gguf(files[0], "m")


@pytest.mark.parametrize("renamed", [{1}, {0, 1, 2}], ids=["one", "all"])
def test_parts_that_were_renamed_are_known_by_their_headers(renamed: set[int], tmp_path: Path) -> None:
    files = parts(tmp_path)
    whole = open_gguf(files[0], "m").tensors
    write_gguf(tmp_path / "another.gguf")
    for number in renamed:
        files[number] = files[number].rename(tmp_path / f"{3 - number}.gguf")
    assert open_gguf(files[1], "m").tensors == whole


def test_a_missing_or_duplicate_renamed_part_is_named(tmp_path: Path) -> None:
    first, second, third = parts(tmp_path)
    moved = third.rename(tmp_path / "m.gguf")
    shutil.copy(second, tmp_path / "copy.gguf")
    with pytest.raises(
        MissingFile, match=r"part 3 of 3, and copy\.gguf, m-00002-of-00003\.gguf are all part 2"
    ):
        open_gguf(moved, "m")
    first.unlink()
    with pytest.raises(MissingFile, match=r"\*-00001-of-00003\.gguf is missing: m\.gguf is part 3 of 3"):
        open_gguf(moved, "m")


def test_concatenated_parts_are_reported(tmp_path: Path) -> None:
    joined = tmp_path / "joined" / "m.gguf"
    joined.parent.mkdir()
    joined.write_bytes(b"".join(part.read_bytes() for part in parts(tmp_path)))
    with pytest.raises(CorruptFile, match=r"several of the 3 parts .*llama-gguf-split --merge"):
        open_gguf(joined, "m")


def test_a_folder_with_the_parts_of_one_model_is_that_model(tmp_path: Path) -> None:
    files = parts(tmp_path)
    opened = LocalStore().open(ModelReference(str(tmp_path)))
    assert opened.tensors == open_gguf(files[0], "m").tensors


def test_dangling_links_and_lfs_pointers_are_named(tmp_path: Path) -> None:
    (tmp_path / "link.gguf").symlink_to("../../blobs/0123abcd")
    (tmp_path / "m.gguf").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(MissingFile, match=r"link\.gguf is missing: it is a link to \.\./\.\./blobs/0123abcd"):
        LocalStore().open(ModelReference(str(tmp_path / "link.gguf")))
    with pytest.raises(MissingFile, match=r"m\.gguf is missing: .*Git LFS pointer"):
        LocalStore().open(ModelReference(str(tmp_path / "m.gguf")))


def test_parts_in_the_wrong_order_are_damage(tmp_path: Path) -> None:
    files = parts(tmp_path)
    files[1].unlink()
    shutil.copy(files[2], files[1])
    with pytest.raises(CorruptFile, match=r"00002-of-00003.* part 3 of 3"):
        open_gguf(files[0], "m")


def test_a_tensor_in_two_parts_is_damage(tmp_path: Path) -> None:
    """The parts belong to two models: each is valid, and neither is complete."""
    files = parts(tmp_path)
    reversed_tensors = dict(reversed(llama_tensors().items()))
    write_gguf(tmp_path / "other" / "m.gguf", tensors=reversed_tensors, parts=8)
    (tmp_path / "other" / files[2].name).replace(files[2])
    with pytest.raises(CorruptFile, match="is also in another part"):
        open_gguf(files[0], "m")


def test_a_whole_file_may_have_the_name_of_a_part_that_cannot_be(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m-00004-of-00003.gguf", tensors=llama_tensors())
    assert open_gguf(path, "m").tensors
    assert np.isfinite(open_gguf(path, "m").read(NORM).numpy()).all()
