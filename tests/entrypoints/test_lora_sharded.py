"""Tests of LoRA with sharded weights: trained together, saved as a whole."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from litgpt import LLM
from tests.adapters.tiny_models import tiny_folder

IDS = (torch.arange(24).view(2, 12) * 11) % 200

SCRIPT = """
import sys
import torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from litgpt import LLM
from litgpt.domain.errors import UnsupportedOperation

model, adapter, out, dtype = sys.argv[1:]
torch.set_num_threads(1)
torch.set_default_dtype(getattr(torch, dtype))
dist.init_process_group("gloo")
llm = LLM.load(model, distribute=None, quiet=True)
llm.trainer_setup()
llm.load_adapter(adapter, trainable=True)
llm.shard(init_device_mesh("cpu", (2,)))
ids = (torch.arange(24).view(2, 12) * 11) % 200
trained = [one for one in llm.parameters() if one.requires_grad]
llm.loss(ids, ids).backward()
torch.optim.SGD(trained, lr=0.1).step()
for act in (llm.add_lora, llm.merge_adapter):
    try:
        act(**({"name": "late"} if act == llm.add_lora else {}))
    except UnsupportedOperation as error:
        assert "sharded" in str(error)
    else:
        raise AssertionError
llm.save_adapter(f"{out}/{dist.get_rank()}")
dist.destroy_process_group()
"""


OPTIONS: dict[str, dict[str, Any]] = {
    "all-linear": {"targets": "all-linear"},
    "other kinds": {
        "targets": ["q_proj"],
        "use_dora": True,
        "modules_to_save": ["embed_tokens", "input_layernorm", "k_proj"],
        "trainable_token_indices": {"lm_head": [3, 7, 250]},
    },
}


@pytest.mark.parametrize(
    ("dtype", "options"),
    [("float32", "all-linear"), ("bfloat16", "all-linear"), ("float32", "other kinds")],
)
def test_two_processes_learn_what_one_does_and_save_all_of_it(
    dtype: str, options: str, tmp_path: Path
) -> None:
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    llm.trainer_setup()
    llm.add_lora(rank=4, **OPTIONS[options])
    torch.manual_seed(0)
    trained = [parameter for parameter in llm.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for tensor in trained:
            tensor.add_(torch.randn_like(tensor) * 0.1)
    llm.save_adapter(tmp_path / "adapter")
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = [str(tiny_folder("llama")), str(tmp_path / "adapter"), str(tmp_path), dtype]
    done = subprocess.run(
        [*launch, str(tmp_path / "script.py"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    llm.loss(IDS, IDS).backward()
    torch.optim.SGD(trained, lr=0.1).step()
    llm.save_adapter(tmp_path / "alone")
    files = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("alone", "0", "1")]
    alone, *others = files
    for other in others:
        assert alone.keys() == other.keys()
        assert all(
            torch.allclose(alone[name], other[name], atol=1e-5 if dtype == "float32" else 0.02)
            for name in alone
        )
