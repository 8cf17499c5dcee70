"""Tests of LitGPT folders: read as the same model in Hugging Face's format, or refused."""

import io
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from litgpt.adapters.checkpoints.litgpt.checkpoint import open_litgpt_folder
from litgpt.adapters.checkpoints.litgpt.config_reader import to_hf_config
from litgpt.domain.errors import CorruptFile, InvalidArgument, MissingFile, UnsafeFile, UnsupportedModel
from litgpt.domain.ports import Checkpoint
from litgpt.domain.tokenizer_source import TokenizerFiles
from tests.adapters.litgpt_writer import litgpt_state, settings_of, write_litgpt_folder
from tests.adapters.tiny_models import tiny_model

RUNS_CODE = """!!python/object/apply:builtins.exec ["raise SystemExit('the YAML ran')"]"""


def write(folder: Path, family: str, changed: dict[str, Any], **settings: Any) -> dict[str, torch.Tensor]:
    """Write a LitGPT folder and return the tensors that transformers saves of the same model."""
    reference = tiny_model(family, **settings).state_dict()
    write_litgpt_folder(folder, settings_of(family, **changed), litgpt_state(family, reference))
    return reference


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "llama", {})
    return tmp_path


def change(folder: Path, **settings: Any) -> None:
    path = folder / "model_config.yaml"
    path.write_text(yaml.dump(yaml.safe_load(path.read_text()) | settings))


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
def test_names_and_shapes_are_known_before_a_tensor_is_read(tmp_path: Path, family: str) -> None:
    reference = write(tmp_path, family, {}, tie_word_embeddings=False)
    checkpoint = open_litgpt_folder(tmp_path, "tiny")
    assert set(checkpoint.tensors) == set(reference)
    for name, tensor in reference.items():
        info = checkpoint.tensors[name]
        assert (info.shape, info.storage_format, info.nbytes) == (tuple(tensor.shape), "F32", tensor.nbytes)
        assert torch.equal(checkpoint.read(name), tensor)


def test_the_vocabulary_is_the_padded_one(folder: Path) -> None:
    assert open_litgpt_folder(folder, "tiny").config["vocab_size"] == 288
    settings = settings_of("llama", padded_vocab_size=None, padding_multiple=64)
    assert to_hf_config("model_config.yaml", settings)["vocab_size"] == 320


def test_a_head_that_is_the_embedding_is_found_by_its_place_in_the_file(tmp_path: Path) -> None:
    write(tmp_path / "tied", "llama", {}, tie_word_embeddings=True)
    tied = open_litgpt_folder(tmp_path / "tied", "tiny")
    assert tied.config["tie_word_embeddings"] is True
    assert "lm_head.weight" not in tied.tensors
    write(tmp_path / "own", "llama", {}, tie_word_embeddings=False)
    own = open_litgpt_folder(tmp_path / "own", "tiny")
    assert own.config["tie_word_embeddings"] is False
    assert "lm_head.weight" in own.tensors


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is mapped")
def test_queries_keys_and_values_are_views_of_one_mapped_tensor(folder: Path) -> None:
    checkpoint = open_litgpt_folder(folder, "tiny")
    q, k, v = (checkpoint.read(f"model.layers.1.self_attn.{letter}_proj.weight") for letter in "qkv")
    assert k.data_ptr() == q.data_ptr() + q.nbytes
    assert v.data_ptr() == k.data_ptr() + k.nbytes
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]
    start, end = (int(word, 16) for word in lines[0].split()[0].split("-"))
    assert start <= q.data_ptr() < v.data_ptr() + v.nbytes <= end


def test_weights_may_be_wrapped_as_litgpt_s_trainers_wrap_them(tmp_path: Path) -> None:
    state = litgpt_state("llama", tiny_model("llama").state_dict())
    write_litgpt_folder(tmp_path, settings_of("llama"), {"model": state})
    assert "model.norm.weight" in open_litgpt_folder(tmp_path, "tiny").tensors


def test_files_beside_litgpt_weights_are_read(folder: Path) -> None:
    (folder / "prompt_style.yaml").write_text("class_path: litgpt.prompts.Llama3\n")
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    (folder / "config.json").write_text('{"model_type": "gpt_neox", "bos_token_id": 0, "eos_token_id": 1}')
    (folder / "tokenizer.json").write_text("{}")
    checkpoint = open_litgpt_folder(folder, "tiny")
    assert checkpoint.prompt_style == "Llama3"
    assert checkpoint.generation_config == {"eos_token_id": [1, 2]}
    assert (checkpoint.config["model_type"], checkpoint.config["eos_token_id"]) == ("llama", 1)
    tokenizer = checkpoint.read_tokenizer()
    assert isinstance(tokenizer, TokenizerFiles)
    assert "tokenizer.json" in tokenizer.paths


def test_an_older_config_file_has_the_former_defaults(folder: Path) -> None:
    path = folder / "model_config.yaml"
    settings = yaml.safe_load(path.read_text())
    for left_out in ("norm_1", "norm_2", "norm_qk", "norm_qk_type", "rope_indices", "head_size", "attn_bias"):
        del settings[left_out]
    path.write_text(yaml.dump(settings))
    assert open_litgpt_folder(folder, "tiny").config["head_dim"] == 12
    del settings["rotary_percentage"]  # LitGPT takes a quarter then
    assert to_hf_config("model_config.yaml", settings)["partial_rotary_factor"] == 0.25


def test_a_tensor_without_a_mapping_keeps_its_name_and_is_unexpected(tmp_path: Path) -> None:
    state = litgpt_state("llama", tiny_model("llama").state_dict())
    state["transformer.h.0.attn.qkv.lora_A"] = torch.ones(2, 48)
    write_litgpt_folder(tmp_path, settings_of("llama"), state)
    assert "transformer.h.0.attn.qkv.lora_A" in open_litgpt_folder(tmp_path, "tiny").tensors


# What is refused.

REFUSED: dict[str, tuple[str, object]] = {
    "norm_class_name": ("llama", "BatchNorm"),
    "mlp_class_name": ("llama", "GptNeoxMLP"),
    "parallel_residual": ("llama", True),
    "shared_attention_norm": ("llama", True),
    "norm_1": ("llama", False),
    "norm_2": ("llama", False),
    "norm_qk_type": ("gemma3_text", "olmo2"),
    "norm_qk": ("stablelm", True),
    "post_attention_norm": ("llama", True),
    "post_mlp_norm": ("llama", True),
    "scale_embeddings": ("llama", True),
    "rotary_percentage": ("qwen2", 0.5),
    "rope_interleave": ("llama", True),
    "rope_local_base_freq": ("llama", 10000),
    "rope_indices": ("gemma3_text", [1, 0, 0]),
    "rope_condense_ratio": ("gemma3_text", 2),
    "rope_adjustments": ("llama", {"factor": 4.0, "low_freq_factor": 1.0}),
    "sliding_window_size": ("gemma", 8),
    "sliding_window_indices": ("mistral", [1, 0, 1]),
    "attention_scores_scalar": ("llama", 20),
    "attention_logit_softcapping": ("llama", 50.0),
    "final_logit_softcapping": ("llama", 30.0),
    "lm_head_bias": ("llama", True),
    "n_expert": ("llama", 8),
    "latent_attention": ("llama", {"q_lora_rank": 8}),
    "a_setting_of_the_future": ("llama", True),
    "bias": ("gemma3_text", True),
    "attn_bias": ("deepseek_v3", True),
    "n_shared_expert": ("qwen3_moe", 1),
    "n_expert_groups": ("mixtral", 2),
    "routed_scaling_factor": ("mixtral", 2.0),
    "first_k_dense_replace": ("mixtral", 1),
    "n_topk_scores_per_group": ("deepseek_v3", 1),
    "norm_eps": ("olmo", 1e-6),
    "head_size": ("gpt_neox", 16),
    "n_query_groups": ("deepseek_v3", 2),
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_setting_that_is_not_implemented_is_named(setting: str) -> None:
    family, value = REFUSED[setting]
    settings = settings_of(family, **{setting: value})
    with pytest.raises(UnsupportedModel, match=rf"model_config\.yaml is not supported.*{setting} = "):
        to_hf_config("model_config.yaml", settings, bare_norms=family == "olmo")


def test_magnitudes_of_yarn_that_only_deepseek_scales_scores_by_are_refused_elsewhere() -> None:
    yarn = {"factor": 4.0, "beta_fast": 32, "beta_slow": 1, "original_max_seq_len": 64, "mscale_all_dim": 1.0}
    with pytest.raises(UnsupportedModel, match="rope_adjustments = "):
        to_hf_config("model_config.yaml", settings_of("llama", rope_adjustments=yarn))


def test_norms_without_weights_are_recognized_by_the_tensors(tmp_path: Path) -> None:
    state = litgpt_state("olmo", tiny_model("olmo").state_dict())
    write_litgpt_folder(tmp_path, settings_of("olmo", name="anything"), state)
    assert open_litgpt_folder(tmp_path, "tiny").config["model_type"] == "olmo"
    state["transformer.ln_f.weight"] = torch.ones(48)
    write_litgpt_folder(tmp_path, settings_of("olmo"), state)
    assert open_litgpt_folder(tmp_path, "tiny").config["model_type"] == "stablelm"


@pytest.mark.parametrize(("family", "name"), [("gemma", "mine"), ("llama", "my-Gemma"), ("gemma3_text", "")])
def test_norms_with_another_offset_than_the_familys_are_refused(family: str, name: str) -> None:
    settings = settings_of(family, name=name)
    with pytest.raises(UnsupportedModel, match=r"so LitGPT adds . to the norm weights"):
        to_hf_config("model_config.yaml", settings)


def test_an_empty_base_name_is_replaced_by_the_originals() -> None:
    settings = settings_of("gemma", name="", hf_config={"org": "google", "name": "Gemma-2b"})
    assert to_hf_config("model_config.yaml", settings)["model_type"] == "gemma"


def test_a_setting_that_litgpt_ignores_is_ignored() -> None:
    config = to_hf_config("model_config.yaml", settings_of("qwen3_moe", norm_topk_prob=False))
    assert config["norm_topk_prob"] is True  # without groups, LitGPT lets the chosen weights sum to 1


@pytest.mark.parametrize("latent", [3, {"q_lora_rank": 0}])
def test_latent_sizes_that_cannot_be_right_are_named(latent: object) -> None:
    settings = settings_of("deepseek_v3")
    changed = settings["latent_attention"] | latent if isinstance(latent, dict) else latent
    with pytest.raises((CorruptFile, UnsupportedModel), match=r"q_lora_rank|latent_attention"):
        to_hf_config("model_config.yaml", settings | {"latent_attention": changed})


def test_stretched_windows_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "gemma3_text", {"rope_adjustments": {"factor": 8.0}, "rope_local_base_freq": None})
    with pytest.raises(UnsupportedModel, match="rope_local_base_freq"):
        open_litgpt_folder(tmp_path, "tiny")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("n_embd", "many"),
        ("n_layer", 0),
        ("n_head", True),
        ("padded_vocab_size", -1),
        ("head_size", 1.5),
        ("rope_adjustments", 3),
        ("intermediate_size", None),
    ],
)
def test_a_setting_that_cannot_be_right_is_named(folder: Path, setting: str, value: object) -> None:
    change(folder, **{setting: value})
    with pytest.raises(CorruptFile, match=rf"model_config\.yaml is damaged: {setting} must be"):
        open_litgpt_folder(folder, "tiny")


def test_indices_that_do_not_cover_the_layers_are_damaged(tmp_path: Path) -> None:
    write(tmp_path, "gemma3_text", {"sliding_window_indices": [1, 0]})
    with pytest.raises(CorruptFile, match="sliding_window_indices"):
        open_litgpt_folder(tmp_path, "tiny")


@pytest.mark.parametrize("text", ["", "just text", "[1, 2]", "a: [", RUNS_CODE])
def test_settings_that_are_not_plain_yaml_are_damaged(folder: Path, text: str) -> None:
    (folder / "model_config.yaml").write_text(text)
    with pytest.raises(CorruptFile, match=r"model_config\.yaml"):
        open_litgpt_folder(folder, "tiny")


@pytest.mark.parametrize("file", ["lit_model.pth", "model_config.yaml"])
def test_a_file_that_is_missing_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(MissingFile, match=file):
        open_litgpt_folder(folder, "tiny")


def open_and_look(folder: Path) -> Checkpoint[torch.Tensor]:
    checkpoint = open_litgpt_folder(folder, "tiny")
    assert checkpoint.tensors
    return checkpoint


@pytest.mark.parametrize("num_bytes", [0, 3, 1000, -100])
def test_weights_that_are_cut_short_are_damaged(folder: Path, num_bytes: int) -> None:
    raw = (folder / "lit_model.pth").read_bytes()
    (folder / "lit_model.pth").write_bytes(raw[:num_bytes])
    with pytest.raises(CorruptFile, match=r"lit_model\.pth"):
        open_and_look(folder)


class Ambush:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('the pickle ran')",)


def test_an_archive_whose_pickle_would_run_code_is_unsafe_and_does_not_run(folder: Path) -> None:
    torch.save({"w": Ambush()}, folder / "lit_model.pth")
    with pytest.raises(UnsafeFile, match="convert_pretrained_checkpoint"):
        open_and_look(folder)


def test_a_bare_pickle_is_unsafe_and_does_not_run(folder: Path) -> None:
    (folder / "lit_model.pth").write_bytes(pickle.dumps(Ambush()))
    with pytest.raises(UnsafeFile, match="safetensors"):
        open_and_look(folder)


def test_an_archive_that_is_compressed_is_not_unpacked(folder: Path) -> None:
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(folder / "lit_model.pth") as archive,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in archive.namelist():
            bomb.writestr(entry, archive.read(entry))
    (folder / "lit_model.pth").write_bytes(packed.getvalue())
    with pytest.raises(CorruptFile, match="compressed"):
        open_and_look(folder)


@pytest.mark.parametrize("content", [[torch.ones(1)], {"step": 3}, {"model": {"w": 3}}, {1: torch.ones(1)}])
def test_weights_that_are_not_named_tensors_are_damaged(folder: Path, content: object) -> None:
    torch.save(content, folder / "lit_model.pth")
    with pytest.raises(CorruptFile, match=r"lit_model\.pth"):
        open_and_look(folder)


def test_joined_rows_that_do_not_fit_the_settings_are_damaged(folder: Path) -> None:
    change(folder, n_query_groups=1)
    with pytest.raises(CorruptFile, match=r"transformer\.h\.0\.attn\.qkv\.weight has shape \[96, 48\]"):
        open_and_look(folder)


def test_a_tensor_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"model\.none"):
        open_litgpt_folder(folder, "tiny").read("model.none")
