"""Tests of experts in separate tensors or in one: the names determine the layout, the model is the same."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from litgpt import LLM
from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.domain.families import resolve_model
from tests.adapters.tiny_models import FAMILIES, tiny_folder
from tests.agreement.models import random_ids

FAMILY = "qwen3_5_moe_text"


def logits(folder: Path) -> torch.Tensor:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    result: torch.Tensor = llm(random_ids(1, 12))
    return result


@torch.inference_mode()
def test_stacked_experts_equal_separate_ones(tmp_path: Path) -> None:
    apart = tiny_folder(FAMILY)
    tensors = load_file(apart / "model.safetensors")
    layer, count = "model.layers.{}.mlp.experts.", FAMILIES[FAMILY]["num_experts"]
    for number in range(3):
        name = layer.format(number)
        one_by_one = {
            part: [tensors.pop(f"{name}{expert}.{part}_proj.weight") for expert in range(count)]
            for part in ("gate", "up", "down")
        }
        both = [torch.cat(pair) for pair in zip(one_by_one["gate"], one_by_one["up"], strict=True)]
        tensors[f"{name}gate_up_proj"] = torch.stack(both)
        tensors[f"{name}down_proj"] = torch.stack(one_by_one["down"])
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    for file in ("config.json", "tokenizer.json"):
        (tmp_path / file).write_bytes((apart / file).read_bytes())
    opened = open_hf_folder(tmp_path, "it")
    resolved = resolve_model("it", opened.config, opened.tensors)
    of_experts = [
        hf_name
        for join in resolved.sources
        if ".experts." in join.parameter.name
        for hf_name in join.hf_names
    ]
    assert len(of_experts) == 3 * 3 * count
    assert len(set(of_experts)) == 3 * 2
    assert torch.equal(logits(tmp_path), logits(apart))
