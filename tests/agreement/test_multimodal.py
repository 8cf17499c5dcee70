"""Tests of the text model of a multimodal one: loaded alone, equal logits, and a note."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from litgpt import LLM
from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.domain.errors import CheckpointMismatch
from litgpt.domain.families import resolve_model
from tests.adapters.tiny_models import FAMILIES, SIZES, randomize, save_byte_tokenizer, tiny_model
from tests.agreement.models import random_ids

_VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def whole(model_type: str, text_type: str) -> Any:
    """Return transformers' multimodal model, tiny and random."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    text = (
        SIZES
        | {"rope_parameters": _MROPE.get(model_type)}
        | FAMILIES[_TEXT_ONLY.get(text_type, text_type)]
        | {"model_type": text_type, "pad_token_id": 0}
    )
    vision = {"model_type": _VISION_TYPES[model_type], **_VISION, **_QWEN_VISION.get(model_type, {})}
    config = AutoConfig.for_model(model_type, text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return randomize(AutoModelForImageTextToText.from_config(config, dtype=torch.float32))


_TEXT_ONLY = {
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
}

_MROPE = {
    model_type: {"rope_type": "default", "rope_theta": 500.0, "mrope_section": [2, 2, 2]}
    for model_type in ("qwen2_vl", "qwen2_5_vl")
}

_MERGED = {"depth": 1, "num_heads": 2, "out_hidden_size": 48}
_QWEN_VISION: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": 48},
    "qwen2_5_vl": _MERGED,
    "qwen3_vl": {**_MERGED, "deepstack_visual_indexes": [0]},
    "qwen3_vl_moe": {**_MERGED, "deepstack_visual_indexes": [0]},
}

_VISION_TYPES = {
    "aria": "idefics3_vision",
    "gemma3": "siglip_vision_model",
    "gemma4": "gemma4_vision",
    "lfm2_vl": "siglip2_vision_model",
    "llama4": "llama4_vision_model",
    "mistral3": "pixtral",
    "qwen3_5": "qwen3_5_vision",
    "qwen3_5_moe": "qwen3_5_moe_vision",
    "gemma4_unified": "gemma4_unified_vision",
    "qwen2_vl": "qwen2_vl_vision",
    "qwen2_5_vl": "qwen2_5_vl_vision",
    "qwen3_vl": "qwen3_vl_vision",
    "qwen3_vl_moe": "qwen3_vl_moe_vision",
}


WHOLES = (
    ("aria", "aria_text"),
    ("gemma3", "gemma3_text"),
    ("gemma4", "gemma4_text"),
    ("lfm2_vl", "lfm2"),
    ("llama4", "llama4_text"),
    ("qwen3_5", "qwen3_5_text"),
    ("qwen3_5_moe", "qwen3_5_moe_text"),
    ("mistral3", "ministral3"),
    ("gemma4_unified", "gemma4_unified_text"),
    ("qwen2_vl", "qwen2_vl_text"),
    ("qwen2_5_vl", "qwen2_5_vl_text"),
    ("qwen3_vl", "qwen3_vl_text"),
    ("qwen3_vl_moe", "qwen3_vl_moe_text"),
    ("mistral3", "mistral4"),
)


@pytest.fixture(params=WHOLES, ids="-".join)
def both(request: Any, tmp_path: Path) -> tuple[Any, Path]:
    reference = whole(*request.param)
    reference.save_pretrained(tmp_path)
    save_byte_tokenizer(tmp_path)
    return reference, tmp_path


def load(folder: Path) -> LLM:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    return llm


def rename(folder: Path, *renamed: tuple[str, str]) -> None:
    """Write the weights again with another name prefix."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for old, new in renamed:
        tensors = {
            new + name.removeprefix(old) if name.startswith(old) else name: tensor
            for name, tensor in tensors.items()
        }
    save_file(tensors, path, {"format": "pt"})


@torch.inference_mode()
def test_the_text_part_gives_the_logits_of_the_whole(both: tuple[Any, Path]) -> None:
    reference, folder = both
    ids = random_ids(1, 24)
    # Without an image, multimodal Llama 4 fails in transformers 5.24; its text model has its own head.
    expected = getattr(reference, "language_model", reference)(input_ids=ids).logits
    assert torch.allclose(load(folder)(ids), expected, atol=1e-4 * float(expected.abs().max()))


@torch.inference_mode()
def test_either_spelling_of_the_names_is_read(both: tuple[Any, Path]) -> None:
    _, folder = both
    ids = random_ids(1, 24)
    expected = load(folder)(ids)
    names = open_hf_folder(folder, "it").tensors
    newer = ("model.language_model.", "language_model.model.")
    older = ("model.", newer[0]) if "model.norm.weight" in names else newer[::-1]
    rename(folder, newer if any(name.startswith(newer[0]) for name in names) else older)
    assert open_hf_folder(folder, "it").tensors.keys() != names.keys()
    assert torch.allclose(load(folder)(ids), expected, atol=1e-5)


def test_loading_only_the_text_model_is_noted(
    both: tuple[Any, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    LLM.load(both[1], distribute=None).distribute(accelerator="cpu")
    assert "only its text model is loaded" in capsys.readouterr().err


def test_mismatches_have_the_checkpoints_tensor_names(both: tuple[Any, Path]) -> None:
    _, folder = both
    opened = open_hf_folder(folder, "it")
    junk = next(name for name in opened.tensors if "embed_tokens." in name).rpartition(".")[0] + ".rubbish"
    tensors = {**opened.tensors, junk: next(iter(opened.tensors.values()))}
    with pytest.raises(CheckpointMismatch) as caught:
        resolve_model("it", opened.config, tensors)
    assert caught.value.unexpected == (junk,)


@torch.inference_mode()
@pytest.mark.parametrize("model_type", ["qwen2_vl", "qwen2_5_vl"])
def test_published_configs_of_qwen_2_have_no_text_config(model_type: str, tmp_path: Path) -> None:
    whole(model_type, f"{model_type}_text").save_pretrained(tmp_path)
    save_byte_tokenizer(tmp_path)
    ids, path = random_ids(1, 24), tmp_path / "config.json"
    expected = load(tmp_path)(ids)
    config = json.loads(path.read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    scaling = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    flat = {**text, **config, "rope_theta": rope["rope_theta"], "rope_scaling": scaling}
    path.write_text(json.dumps(flat))
    assert torch.equal(load(tmp_path)(ids), expected)


@torch.inference_mode()
def test_transposed_experts_of_published_files_are_read(tmp_path: Path) -> None:
    whole("qwen3_vl_moe", "qwen3_vl_moe_text").save_pretrained(tmp_path)
    save_byte_tokenizer(tmp_path)
    ids, path = random_ids(1, 24), tmp_path / "model.safetensors"
    expected = load(tmp_path)(ids)
    tensors = load_file(path)
    for name in tensors:
        if ".experts." in name:
            tensors[name] = tensors[name].transpose(1, 2).contiguous()
    save_file(tensors, path, {"format": "pt"})
    assert torch.equal(load(tmp_path)(ids), expected)


@torch.inference_mode()
def test_phi_4_multimodal_is_phi_3_for_text(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    vision = {**_VISION, "crop_size": 28, "num_hidden_layers": 2}
    audio = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_blocks": 2,
        "num_attention_heads": 2,
        "ext_pw_out_channel": 16,
        "depthwise_separable_out_channel": 16,
        "nemo_conv_channels": 8,
    }
    factors = {"short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5], "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    config = AutoConfig.for_model(
        "phi4_multimodal",
        **{**SIZES, "pad_token_id": 0, "vision_config": vision, "audio_config": audio},
        original_max_position_embeddings=16,
        rope_parameters={"rope_type": "longrope", "rope_theta": 500.0, **factors},
    )
    reference = randomize(AutoModelForCausalLM.from_config(config, dtype=torch.float32))
    reference.save_pretrained(tmp_path)
    save_byte_tokenizer(tmp_path)
    for length in (12, 24):  # with the short and the long factors
        ids = random_ids(1, length)
        expected = reference(ids).logits
        assert torch.allclose(load(tmp_path)(ids), expected, atol=1e-4 * float(expected.abs().max()))


@torch.inference_mode()
def test_saved_it_is_a_model_of_text(both: tuple[Any, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    llm, ids = load(both[1]), random_ids(1, 24)
    llm.save(tmp_path / "text")
    reference = AutoModelForCausalLM.from_pretrained(tmp_path / "text", dtype=torch.float32)
    expected = llm(ids)
    assert torch.allclose(reference(ids).logits, expected, atol=1e-4 * float(expected.abs().max()))


@torch.inference_mode()
def test_gemma_3n_is_read_with_any_vision_settings(tmp_path: Path) -> None:
    # transformers requires timm for the multimodal model, so it is built from the text model here.
    reference, ids = tiny_model("gemma3n_text"), random_ids(1, 24)
    reference.save_pretrained(tmp_path)
    save_byte_tokenizer(tmp_path)
    rename(tmp_path, ("model.", "model.language_model."))
    weights = tmp_path / "model.safetensors"
    others = {
        f"model.{name}.weight": torch.ones(2) for name in ("vision_tower.x", "audio_tower.x", "embed_audio.x")
    }
    save_file({**load_file(weights), **others}, weights, {"format": "pt"})
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "gemma3n", "text_config": json.loads(config.read_text())}))
    expected = reference(ids).logits
    assert torch.allclose(load(tmp_path)(ids), expected, atol=1e-4 * float(expected.abs().max()))
