"""Repositories for the loopback Hub: small, with all files of real ones."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

CONFIG = {"model_type": "llama", "hidden_size": 8, "eos_token_id": 2}
INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def weights(rows: int = 16) -> dict[str, np.ndarray]:
    """Return a few tensors; `rows` is the size of the largest, at 4 KB each."""
    random = np.random.default_rng(0)
    return {
        "model.embed_tokens.weight": random.standard_normal((rows, 1024), dtype=np.float32),
        "model.norm.weight": random.standard_normal(8, dtype=np.float32).astype(np.float16),
    }


def small_files(folder: Path) -> None:
    """Write the files beside the weights, and unrelated files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 0.6}))
    (folder / "tokenizer.json").write_text(json.dumps({"padding": "x" * 5000}))
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "README.md").write_text("A model.")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "onnx").mkdir(exist_ok=True)
    (folder / "onnx" / "model.onnx").write_bytes(b"another format")


def one_file(folder: Path, *, rows: int = 16, note: str = "") -> None:
    """Write a model in one safetensors file; `note` makes its header longer."""
    small_files(folder)
    save_file(weights(rows), folder / "model.safetensors", metadata={"note": note})


def sharded(folder: Path, *, rows: int = 16) -> None:
    """Write a model in two shards and an index."""
    small_files(folder)
    weight_map = {}
    for shard, (name, tensor) in zip(SHARDS, weights(rows).items(), strict=True):
        save_file({name: tensor}, folder / shard)
        weight_map[name] = shard
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
