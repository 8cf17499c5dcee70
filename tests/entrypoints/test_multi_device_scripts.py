"""Tests of the multi-device scripts in LitGPT's documentation, verbatim, on a machine without GPUs.

The models are tiny ones of the same families, under the same names.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.tiny_models import tiny_folder, tiny_model

SEQUENTIAL = """
from litgpt.api import LLM

llm = LLM.load(
    "microsoft/phi-2",
    distribute=None
)

llm.distribute(
    generate_strategy="sequential",
    devices=4,  # Optional setting, otherwise uses all available GPUs
    fixed_kv_cache_size=256  # Optionally use a small kv-cache to further reduce memory usage
)
text = llm.generate("What do llamas eat?", max_new_tokens=100)
print(text)
"""
TENSOR_PARALLEL = """
from litgpt.api import LLM


if __name__ == "__main__":

    llm = LLM.load(
        model="meta-llama/Meta-Llama-3.1-8B-Instruct",
        distribute=None
    )

    llm.distribute(generate_strategy="tensor_parallel", devices=4)

    print(llm.generate(prompt="What do llamas eat?"))
    print(llm.generate(prompt="What is 1+2?", top_k=1))
"""


@pytest.mark.parametrize(
    ("script", "name", "family", "instead"),
    [
        (SEQUENTIAL, "microsoft/phi-2", "phi", "the 4 devices are all the CPU, .*"),
        (
            TENSOR_PARALLEL,
            "meta-llama/Meta-Llama-3.1-8B-Instruct",
            "llama",
            "the 4 devices are processes that share the CPU",
        ),
    ],
    ids=["sequential", "tensor_parallel"],
)
def test_the_documented_script_runs_and_reports_a_missing_gpu(
    script: str, name: str, family: str, instead: str, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints" / name
    model = tiny_model(family, num_hidden_layers=6, eos_token_id=None)  # none that ends at once
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    shutil.copy(tiny_folder(family) / "tokenizer.json", folder)
    (tmp_path / "script.py").write_text(script)
    hidden = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, **hidden},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    first, second = done.stderr.splitlines()
    assert first == "Using 4 device(s): cpu, float32"
    assert re.fullmatch(f"No GPU was found, or torch was built without GPU support: {instead}\\.", second)
