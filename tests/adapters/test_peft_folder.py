"""Tests of PEFT folders: reading, writing, and refusal of unsupported settings."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from litgpt.adapters.checkpoints.peft.adapter_folder import read_adapter
from litgpt.adapters.checkpoints.peft.folder_files import CONFIG_FILE, WEIGHTS_FILE, is_adapter
from litgpt.adapters.checkpoints.peft.writer import write_adapter
from litgpt.domain.errors import CorruptFile, MissingFile, UnsafeFile, UnsupportedModel, UnsupportedOperation
from litgpt.domain.lora.config import LoraAdapter, LoraConfig, LoraWeights

Q, V = "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"


def tensors() -> dict[str, Tensor]:
    return {
        f"base_model.model.{name}.lora_{which}.weight": torch.randn(shape)
        for name in (Q, V)
        for which, shape in (("A", (4, 6)), ("B", (8, 4)))
    }


def folder_of(folder: Path, weights: dict[str, Tensor] | None = None, **settings: Any) -> Path:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "target_modules": "all-linear", "bias": "none"}
    (folder / CONFIG_FILE).write_text(json.dumps(config | settings))
    save_file(tensors() if weights is None else weights, folder / WEIGHTS_FILE)
    return folder


def test_lora_targets_follow_from_the_tensors(tmp_path: Path) -> None:
    weights = tensors()
    actual = read_adapter(folder_of(tmp_path, weights, base_model_name_or_path="org/name", revision="main"))
    assert (actual.base_model, actual.revision, set(actual.weights)) == ("org/name", "main", {Q, V})
    pair = actual.weights[V]
    assert (pair.rank, pair.alpha) == (4, 6)
    assert torch.equal(pair.lora_B, weights[f"base_model.model.{V}.lora_B.weight"])


def test_rank_and_alpha_may_differ_per_layer(tmp_path: Path) -> None:
    read = read_adapter(
        folder_of(tmp_path, r=8, rank_pattern={"q_proj": 4, V: 4}, alpha_pattern={r".*\.v_proj": 3})
    )
    assert {name: pair.alpha for name, pair in read.weights.items()} == {Q: 6, V: 3}
    with pytest.raises(CorruptFile, match="rank 4"):
        read_adapter(folder_of(tmp_path, r=8))


@pytest.mark.parametrize("pattern", ["(a+)+", "(", ".*" * 5, "x" * 400])
def test_a_pattern_whose_search_could_take_for_ever_is_refused(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match="pattern"):
        read_adapter(folder_of(tmp_path, rank_pattern={pattern: 4}))


@pytest.mark.parametrize(
    "setting",
    [
        {"peft_type": "LOHA"},
        {"layer_replication": [[0, 2]]},
        {"megatron_config": {"a": 1}},
        {"use_qalora": True},
        {"alora_invocation_tokens": [1, 2]},
        {"velora_config": {"rank": 1}},
        {"init_lora_weights": "pissa"},
        {"a_setting_of_tomorrow": 1},
    ],
)
def test_unsupported_settings_are_refused_by_name(setting: dict[str, Any], tmp_path: Path) -> None:
    ((name, _),) = setting.items()
    with pytest.raises(UnsupportedModel, match=name):
        read_adapter(folder_of(tmp_path, **setting))


def test_a_tensor_of_an_unknown_kind_of_lora_is_refused_by_name(tmp_path: Path) -> None:
    name = f"base_model.model.{Q}.lora_diag"
    with pytest.raises(UnsupportedModel, match="lora_diag"):
        read_adapter(folder_of(tmp_path, {**tensors(), name: torch.ones(2)}))
    with pytest.raises(CorruptFile, match="does not start with"):
        read_adapter(folder_of(tmp_path, {**tensors(), "lm_head.weight": torch.ones(2)}))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("base_model.model.", ""),
        ("base_model.model.", "base_model.model.base_model.model."),
        ("base_model.model.", "module.base_model.model._orig_mod."),
        (".lora_A.", ".lora_A.default."),
    ],
)
def test_name_prefixes_of_wrappers_and_state_dicts_are_read(old: str, new: str, tmp_path: Path) -> None:
    renamed = {name.replace(old, new, 1): tensor for name, tensor in tensors().items()}
    assert set(read_adapter(folder_of(tmp_path, renamed)).weights) == {Q, V}


def test_an_lfs_pointer_in_place_of_adapter_weights_is_named(tmp_path: Path) -> None:
    weights = folder_of(tmp_path) / WEIGHTS_FILE
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(MissingFile, match="git lfs pull"):
        read_adapter(tmp_path)
    weights.unlink()
    weights.symlink_to("../../blobs/0123")
    with pytest.raises(MissingFile, match=r"a link to \.\./\.\./blobs/0123"):
        read_adapter(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bias": "some"}, "bias"),
        ({"modules_to_save": [3]}, "modules_to_save"),
        ({"trainable_token_indices": ["a"]}, "trainable_token_indices"),
        ({"trainable_token_indices": {"lm_head": [-1]}}, "trainable_token_indices"),
        ({"use_dora": True, "lora_bias": True}, "lora_bias"),
    ],
)
def test_settings_that_cannot_be_right_are_named(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CorruptFile, match=message):
        read_adapter(folder_of(tmp_path, **settings))


def test_tokens_need_their_ids_and_experts_their_parameters(tmp_path: Path) -> None:
    name = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
    with pytest.raises(CorruptFile, match="does not list their token ids"):
        read_adapter(folder_of(tmp_path, {**tensors(), name: torch.ones(2, 6)}))
    inner = {
        f"base_model.model.m.experts.base_layer.lora_{letter}.weight": torch.ones(4, 4) for letter in "AB"
    }
    with pytest.raises(CorruptFile, match="experts has 1 LoRA pairs"):
        read_adapter(folder_of(tmp_path, {**tensors(), **inner}, target_parameters=["experts.down_proj"]))


def test_a_folder_with_a_config_and_what_a_trainer_leaves_is_an_adapter(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for name in ("config.json", "training_args.bin", "optimizer.pt", "tokenizer.json"):
        (folder / name).write_text("{}")
    assert is_adapter(folder)
    (folder / "model.safetensors").write_text("")
    assert not is_adapter(folder)


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / WEIGHTS_FILE).rename(folder / "adapter_model.bin")
    with pytest.raises(UnsafeFile, match=r"adapter_model\.bin"):
        read_adapter(folder)
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(MissingFile, match=WEIGHTS_FILE):
        read_adapter(folder)


def test_incomplete_and_missing_lora_pairs_are_damage(tmp_path: Path) -> None:
    weights = tensors()
    del weights[f"base_model.model.{V}.lora_A.weight"]
    with pytest.raises(CorruptFile, match="v_proj"):
        read_adapter(folder_of(tmp_path, weights))
    with pytest.raises(CorruptFile, match="no tensor"):
        read_adapter(folder_of(tmp_path, {}))
    flat = {**tensors(), f"base_model.model.{Q}.lora_A.weight": torch.ones(3)}
    with pytest.raises(CorruptFile, match="expected a matrix"):
        read_adapter(folder_of(tmp_path, flat))
    with pytest.raises(CorruptFile, match="rank"):
        read_adapter(folder_of(tmp_path, r=-1))


def adapter() -> LoraAdapter[Tensor]:
    return LoraAdapter(
        config=LoraConfig(rank=4, alpha=6, dropout=0.1, rslora=True),
        weights={
            Q: LoraWeights(torch.randn(4, 6), torch.randn(8, 4), 4, 6),
            V: LoraWeights(torch.randn(2, 6), torch.randn(8, 2), 2, 3.5),
        },
        base_model="org/name",
        targets=("q_proj", "v_proj"),
    )


def test_a_written_adapter_is_read_unchanged(tmp_path: Path) -> None:
    written = adapter()
    write_adapter(tmp_path / "new", written)
    reloaded = read_adapter(tmp_path / "new")
    assert (reloaded.config, reloaded.base_model) == (written.config, written.base_model)
    for name, pair in written.weights.items():
        actual = reloaded.weights[name]
        assert (actual.rank, actual.alpha) == (pair.rank, pair.alpha)
        assert torch.equal(actual.lora_A, pair.lora_A)
        assert torch.equal(actual.lora_B, pair.lora_B)


def test_the_files_are_those_that_peft_and_safetensors_know(tmp_path: Path) -> None:
    from peft import PeftConfig

    write_adapter(tmp_path, adapter())
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    assert load_file(tmp_path / WEIGHTS_FILE).keys() == tensors().keys()
    config = PeftConfig.from_pretrained(str(tmp_path))
    assert (config.r, config.lora_alpha, config.rank_pattern) == (4, 6, {V: 2})


def test_an_unwritable_folder_is_a_litgpt_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnsupportedOperation, match="Saving to"):
        write_adapter(tmp_path / "file", adapter())


def test_of_two_concurrent_adapter_saves_the_last_is_complete(tmp_path: Path) -> None:
    def save(alpha: int) -> None:
        pairs = {
            name: LoraWeights(torch.full((2, 6), float(alpha)), torch.zeros(8, 2), 2, alpha)
            for name in (Q, V)
        }
        for _ in range(25):
            write_adapter(
                tmp_path,
                LoraAdapter(
                    config=LoraConfig(rank=2, alpha=alpha, targets=("q_proj", "v_proj")), weights=pairs
                ),
            )

    with ThreadPoolExecutor(4) as pool:
        for saving in [pool.submit(save, alpha) for alpha in (1, 2, 3, 4)]:
            saving.result()
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    for pair in read_adapter(tmp_path).weights.values():
        assert torch.equal(pair.lora_A, torch.full((2, 6), pair.alpha))
