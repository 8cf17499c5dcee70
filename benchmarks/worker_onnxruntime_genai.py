"""Measure onnxruntime-genai with a model of its own builder."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from measuring import Library, OnToken, measure

PRECISIONS = {"Q4_0": "int4", "Q8_0": "int8", "F32": "fp32"}
BITS_OF_HEAD = ("--extra_options", "algo_config=rtn", "matmul_mixed_precision=last_matmul:int8")
"""As in GGUF files, the embedding, which is the head, has 8 bits; the groups have 32 weights by default."""


def convert(model: Path, folder: Path, file_format: str) -> None:
    """Quantize the bf16 weights."""
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-e", "cpu"]
    precision = ["-i", model, "-o", folder, "-c", folder, "-p", PRECISIONS[file_format]]
    subprocess.run([*command, *precision, *(BITS_OF_HEAD if file_format == "Q4_0" else ())], check=True)


def import_library() -> None:
    """Import the library."""
    import onnxruntime_genai  # noqa: F401


def load(arguments: Namespace) -> Any:
    """Load the model and its tokenizer."""
    import onnxruntime_genai as og

    config = og.Config(arguments.model)
    options = {"session_options": {"intra_op_num_threads": arguments.threads}}
    config.overlay(json.dumps({"model": {"decoder": options}}))
    model = og.Model(config)
    return model, og.Tokenizer(model)


def start(model: Any, ids: Any, length: int, at_most: int, batch_size: int = 1) -> Any:
    """Return a generator that has read ids (T) or (B, T) and generates `at_most` tokens greedily."""
    import onnxruntime_genai as og

    parameters = og.GeneratorParams(model)
    total = length + at_most
    parameters.set_search_options(do_sample=False, batch_size=batch_size, min_length=total, max_length=total)
    generator = og.Generator(model, parameters)
    generator.append_tokens(ids)
    return generator


def generate(loaded: Any, prompt: str, at_most: int, on_token: OnToken) -> None:
    """Generate greedily."""
    model, tokenizer = loaded
    ids = tokenizer.encode(prompt)
    generator = start(model, ids, len(ids), at_most)
    for _ in range(at_most):
        generator.generate_next_token()
        on_token(int(generator.get_next_tokens()[0]))


def generate_batch(loaded: Any, prompts: list[str], at_most: int) -> int:
    """Generate greedily for all prompts, each of which gets all its tokens."""
    model, tokenizer = loaded
    ids = tokenizer.encode_batch(prompts)
    generator = start(model, ids, ids.shape()[1], at_most, len(prompts))
    for _ in range(at_most):
        generator.generate_next_token()
    return at_most * len(prompts)


if __name__ == "__main__":
    measure(
        Library(
            "onnxruntime-genai",
            import_library,
            load,
            generate,
            generate_batch,
            convert=convert,
            uses_torch=False,
        )
    )
