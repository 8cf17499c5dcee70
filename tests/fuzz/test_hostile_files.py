"""Tests of small files that would exhaust time or memory, and of paths that are not regular files."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from litgpt.adapters.checkpoints.hf.config_files import read_json, read_prompt_style, read_yaml
from litgpt.adapters.checkpoints.litgpt.checkpoint import open_litgpt_folder
from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.adapters.checkpoints.peft.lora_store import LoraStore
from litgpt.adapters.training.checkpoint_reader import check_readable, read_checkpoint
from litgpt.adapters.training.config_file import read_settings
from litgpt.adapters.training.data.record_files import read_records
from litgpt.chat import read_chat
from litgpt.domain.errors import CorruptFile, InvalidArgument, LitGPTError, ModelNotFound
from litgpt.domain.families import parse_config
from litgpt.domain.reference import ModelReference
from litgpt.domain.validation.untrusted_pickles import check_pickle
from tests.fuzz.readers import CONFIG


def laughs(levels: int = 40) -> str:
    """Return YAML whose aliases double at each level (billion laughs)."""
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, levels))]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("file", "read"),
    [
        ("model_config.yaml", read_yaml),
        ("prompt_style.yaml", lambda path: read_prompt_style(path.parent)),
        ("recipe.yaml", read_settings),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        laughs(),
        "a: &a [*a]",
        "a: !!int ''",
        "a: 2020-99-99",
        f"a: {'9' * 6000}",
        "a:\n\t- b",
        "[" * 50_000,
        f"a: {'x' * 200_000}",
    ],
    ids=["doubling", "recursive", "empty int", "date", "digits", "tab", "deep", "long"],
)
def test_hostile_yaml_is_refused(
    tmp_path: Path, file: str, read: Callable[[Path], object], text: str
) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(CorruptFile, match=file):
        read(tmp_path / file)


def test_a_list_that_litgpt_writes_once_for_two_settings_is_read(tmp_path: Path) -> None:
    shared = [0, 1, 1]
    (tmp_path / "a.yaml").write_text(yaml.dump({"one": shared, "two": shared}))
    assert "*id001" in (tmp_path / "a.yaml").read_text()
    assert read_yaml(tmp_path / "a.yaml") == {"one": shared, "two": shared}


def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1_000_000)}}, tmp_path / "sound")
    with (
        zipfile.ZipFile(tmp_path / "sound") as sound,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in sound.namelist():
            bomb.writestr(name, sound.read(name))
    assert path.stat().st_size < 62_000
    with pytest.raises(CorruptFile, match="compressed"):
        read_checkpoint(path)
    for value in ("meta.pt", ".metadata"):
        (tmp_path / value).write_bytes(path.read_bytes())
    with pytest.raises(LitGPTError):
        read_checkpoint(tmp_path)
    (tmp_path / "lit_model.pth").write_bytes(path.read_bytes())
    (tmp_path / "model_config.yaml").write_text("a: 1")
    with pytest.raises(LitGPTError):
        open_litgpt_folder(tmp_path, "m")


@pytest.mark.parametrize("attribute", ["relative_path", "offset", "length"])
def test_a_sharded_checkpoint_whose_list_of_tensors_lacks_a_value_is_refused(
    tmp_path: Path, attribute: str
) -> None:
    with pytest.warns(UserWarning, match="distributed"):
        save({"state_dict": {"a": torch.ones(2)}}, storage_writer=FileSystemWriter(tmp_path), no_dist=True)
    torch.save({}, tmp_path / "meta.pt")
    check_readable(tmp_path)
    metadata = pickle.loads((tmp_path / ".metadata").read_bytes())  # noqa: S301 - written above
    for part in metadata.storage_data.values():
        del part.__dict__[attribute]
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CorruptFile, match=rf"\.metadata.*{attribute}"):
        check_readable(tmp_path)


def test_a_bytearray_of_any_size_is_refused(tmp_path: Path) -> None:
    class Huge:
        def __reduce__(self) -> tuple[type, tuple[int]]:
            return bytearray, (10**11,)

    torch.save({"state_dict": {}, "a": Huge()}, tmp_path / "a.ckpt")
    with pytest.raises(CorruptFile, match="bytearray"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("raw", [b"\x80\x05]r\xff\xff\xff\x7f.", b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f."])
def test_a_pickle_that_reserves_memory_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"memo index|bytearray8"):
        check_pickle(raw)


@pytest.mark.parametrize("value", [[], {"a": (1, "b", [None] * 500)}, [[i] for i in range(3000)]])
def test_other_pickles_are_not(value: object) -> None:
    for protocol in range(6):
        check_pickle(pickle.dumps(value, protocol))


@pytest.mark.parametrize(
    "content",
    [
        "[" * 99_999,
        '{"a":' * 99_999,
        f'{{"a": {"9" * 5001}}}',
        '{"a": "\\ud800"}',
        "",
        "\x00",
        "[" * 200 + "]" * 200,
    ],
    ids=["brackets", "braces", "digits", "surrogate", "empty", "nul", "deep"],
)
def test_hostile_json_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    for read in (read_json, read_chat):
        with pytest.raises(CorruptFile, match=r"a\.json"):
            read(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"rope_theta": 10**400},
        {"hidden_act": ["silu"]},
        {"rms_norm_eps": float("nan")},
        {"rope_theta": float("inf")},
        {"rope_scaling": [1]},
        {"rope_scaling": {"rope_type": ["llama3"]}},
        {"model_type": "gemma3_text", "layer_types": [["full_attention"], None]},
        {"num_attention_heads": True},
        {"hidden_size": "32"},
        {"vocab_size": -1},
        {"head_dim": {"a": 1}},
        {"model_type": ["llama"]},
    ],
    ids=str,
)
def test_a_setting_of_a_wrong_type_or_size_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(LitGPTError) as caught:
        parse_config("m", CONFIG | changed)
    assert len(str(caught.value)) < 3000


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    "read",
    [read_json, read_yaml, read_settings, read_checkpoint, read_chat, lambda path: list(read_records(path))],
    ids=["json", "yaml", "recipe", "ckpt", "chat", "records"],
)
def test_only_regular_files_are_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    strange = ("a" * 300, "a\0b", "a\ud800b")
    for path in (_fifo(tmp_path / "a.json"), Path("/dev/zero"), *(tmp_path / value for value in strange)):
        with pytest.raises(LitGPTError) as caught:
            read(path)
        str(caught.value).encode()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "a\ud800b", "x/" * 3000])
def test_a_model_name_that_no_file_can_have_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises((ModelNotFound, InvalidArgument)):
        LocalStore(tmp_path).open(ModelReference(name))


def test_a_model_that_is_a_fifo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LitGPTError, match="not a regular file"):
        LocalStore(tmp_path).open(ModelReference(str(_fifo(tmp_path / "a.gguf"))))


def test_a_config_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(CONFIG).encode())
    assert read_json(tmp_path / "a.json") == CONFIG


@pytest.mark.parametrize("base", ["a" * 300, "~no-such-user/a", "a\0b", "/dev/zero", "x/" * 3000])
def test_an_adapter_with_an_invalid_base_name_is_refused(tmp_path: Path, base: str) -> None:
    settings = {"peft_type": "LORA", "r": 2, "base_model_name_or_path": base}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    pair = {f"{layer}.lora_A.weight": torch.ones(2, 4), f"{layer}.lora_B.weight": torch.ones(4, 2)}
    save_file(pair, tmp_path / "adapter_model.safetensors")
    with pytest.raises(LitGPTError):
        LoraStore(LocalStore(tmp_path)).open(ModelReference(str(tmp_path)))
