"""Tests of saved quantized models: the folder holds the values that were computed with."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from litgpt import LLM
from litgpt.adapters.pytorch.quantization.registry import quantized_layers
from litgpt.domain.errors import CorruptFile
from litgpt.domain.quantization import QUANTIZATIONS, Quantization
from tests.adapters.tiny_models import tiny_folder, tiny_model
from tests.agreement.models import random_ids

FAMILIES = ("llama", "gpt2", "falcon", "phi3", "mixtral", "gpt_oss", "llama4_text", "qwen3_next")
IDS = random_ids(1, 10)


def opened(folder: Path, quantization: Quantization | None, precision: str = "32-true") -> LLM:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision=precision, quantize=quantization)
    return llm


def wide(folder: Path, **config: Any) -> Path:
    """Return a folder with a model whose sizes are multiples of 64."""
    shutil.copytree(tiny_folder("llama"), folder)
    tiny_model("llama", hidden_size=128, intermediate_size=256, **config).save_pretrained(folder)
    return folder


def logits(llm: LLM) -> Tensor:
    with torch.inference_mode():
        actual = llm(IDS)
    assert isinstance(actual, Tensor)
    return actual


@pytest.mark.parametrize("quantization", ["int8", "int4", "bnb.nf4", "bnb.int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_quantized_model_that_was_saved_is_the_same_again(
    family: str, quantization: Quantization, tmp_path: Path
) -> None:
    llm = opened(tiny_folder(family), quantization)
    expected = logits(llm)
    llm.save(tmp_path)
    torch.testing.assert_close(logits(opened(tmp_path, quantization)), expected, rtol=1e-5, atol=1e-5)
    if quantization != "bnb.int8":  # which rounds activations as well
        torch.testing.assert_close(logits(opened(tmp_path, None)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_it_is_the_same_in_bfloat16_too_and_takes_the_room_of_its_bits(
    quantization: Quantization, tmp_path: Path
) -> None:
    plain, folder = tmp_path / "plain", tmp_path / "folder"
    llm = opened(wide(tmp_path / "wide"), None, "bf16-true")
    llm.save(plain)
    llm.distribute(accelerator="cpu", precision="bf16-true", quantize=quantization)
    expected = logits(llm)
    llm.save(folder)
    reloaded = opened(folder, quantization.removesuffix("-dq"), "bf16-true")  # type: ignore[arg-type]
    tolerance = 0.02 if quantization.endswith("-dq") or quantization == "bnb.int8" else 0
    torch.testing.assert_close(logits(reloaded), expected, rtol=tolerance, atol=tolerance)
    smaller = (folder / "model.safetensors").stat().st_size / (plain / "model.safetensors").stat().st_size
    embedded = 2 * 288 * 128 / (plain / "model.safetensors").stat().st_size * 2
    assert smaller < embedded + (1 - embedded) * (0.52 if "8" in quantization else 0.33) + 0.02
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("quantization", "tied"),
    [("bnb.nf4", False), ("bnb.fp4", False), ("bnb.nf4-dq", False), ("bnb.nf4", True)],
)
def test_transformers_opens_four_bits_of_bitsandbytes_as_they_were_saved(
    quantization: Quantization,
    tied: bool,  # noqa: FBT001 - pytest passes by name
    tmp_path: Path,
) -> None:
    from transformers import AutoModelForCausalLM

    llm = opened(wide(tmp_path / "wide", tie_word_embeddings=tied), quantization)
    llm.save(tmp_path / "saved")
    reference = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype=torch.float32)
    assert llm.model is not None
    actual = quantized_layers(llm.model)
    for number, layer in enumerate(reference.model.layers):
        rows = [dequantized(value) for value in (layer.self_attn.q_proj, layer.self_attn.k_proj)]
        qkv = actual[f"transformer.h.{number}.attn.qkv.weight"].dequantize()
        torch.testing.assert_close(torch.cat(rows), qkv[: sum(map(len, rows))], rtol=1e-6, atol=0)
        down = actual[f"transformer.h.{number}.mlp.proj.weight"].dequantize()
        torch.testing.assert_close(dequantized(layer.mlp.down_proj), down, rtol=1e-6, atol=0)
    with torch.inference_mode():
        expected = reference(IDS).logits
    # Where the CPU can, bitsandbytes's layers compute in bfloat16.
    assert (logits(llm) - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize(
    ("family", "quantization", "reported"),
    [
        ("gpt2", "bnb.nf4-dq", True),  # whose matrices lie on their sides
        ("gpt2", "bnb.fp4", True),
        ("gpt2", "int4", False),
        ("gpt2", None, False),
        ("llama", "bnb.nf4", False),
    ],
)
def test_unsupported_saving_of_bitsandbytes_four_bits_is_an_error(
    family: str,
    quantization: Quantization | None,
    reported: bool,  # noqa: FBT001 - pytest passes by name
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    llm = LLM.load(tiny_folder(family), distribute=None, quiet=False)
    llm.distribute(accelerator="cpu", quantize=quantization)
    capsys.readouterr()
    llm.save(tmp_path)
    output = capsys.readouterr().err
    assert ("12 of 12 quantized weights are written in float32" in output) == reported
    assert (
        f"quantize={str(quantization).removesuffix('-dq')!r} to get the same values" in output
    ) == reported


def dequantized(linear: Any) -> Tensor:
    """Return the dequantized weight of a four-bit layer of transformers."""
    from bitsandbytes.functional import dequantize_4bit

    actual: Tensor = dequantize_4bit(linear.weight.data, linear.weight.quant_state)
    return actual


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": "zeros"}, "zeros is missing"),
        ({"cut": "scales"}, "scales has shape"),
        ({"cut": "codes"}, "codes has shape"),
        ({"flat": "model.norm.weight"}, "model.norm.weight is quantized, but has shape"),
    ],
)
def test_a_damaged_folder_is_an_error_before_it_is_read(
    change: dict[str, str], message: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    opened(tiny_folder("llama"), "int4").save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = "model.layers.0.mlp.down_proj.weight"
    if (role := change.get("drop")) is not None:
        del tensors[f"{name}.{role}"]
    elif (flat := change.get("flat")) is not None:
        tensors |= {f"{flat}.{role}": tensors[f"{name}.{role}"][0] for role in ("codes", "scales", "zeros")}
        del tensors[flat]
    else:
        cut = f"{name}.{change['cut']}"
        tensors[cut] = tensors[cut][:, :-1].contiguous()
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    with pytest.raises(CorruptFile, match=message):
        LLM.load(tmp_path, distribute=None, quiet=True)
