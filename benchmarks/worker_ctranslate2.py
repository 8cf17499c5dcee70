"""Measure CTranslate2 with a model of its own converter."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from measuring import Library, OnToken, measure

COMPUTE_TYPES = {"Q8_0": "int8_float32"}
"""8 bits with a scale for each row; everything else in float32, because it has no bfloat16 on a CPU."""

TOKENIZER = "tokenizer.json"


def convert(model: Path, folder: Path, file_format: str) -> None:
    """Quantize the bf16 weights."""
    from ctranslate2.converters import TransformersConverter

    converter = TransformersConverter(str(model), copy_files=[TOKENIZER])
    converter.convert(str(folder), quantization=COMPUTE_TYPES[file_format], force=True)


def import_library() -> None:
    """Import the library and a tokenizer, without torch, which only its converters need."""
    sys.modules["torch"] = None  # type: ignore[assignment]
    import ctranslate2  # noqa: F401
    import tokenizers  # noqa: F401


def load(arguments: Namespace) -> Any:
    """Load the model and its tokenizer."""
    import ctranslate2
    from tokenizers import Tokenizer

    model = ctranslate2.Generator(arguments.model, device="cpu", intra_threads=arguments.threads)
    return model, Tokenizer.from_file(str(Path(arguments.model) / TOKENIZER))


def greedy(at_most: int) -> dict[str, Any]:
    """Return the options of a generation that does not stop at the end of the answer."""
    return {"sampling_topk": 1, "min_length": at_most, "max_length": at_most, "end_token": []}


def generate(loaded: Any, prompt: str, at_most: int, on_token: OnToken) -> None:
    """Generate greedily."""
    model, tokenizer = loaded
    for result in model.generate_tokens(tokenizer.encode(prompt).tokens, **greedy(at_most)):
        on_token(result.token_id)


def generate_batch(loaded: Any, prompts: list[str], at_most: int) -> int:
    """Generate greedily for all prompts, each of which gets all its tokens."""
    model, tokenizer = loaded
    texts = [tokenizer.encode(prompt).tokens for prompt in prompts]
    results = model.generate_batch(texts, **greedy(at_most), include_prompt_in_result=False)
    return sum(len(result.sequences_ids[0]) for result in results)


if __name__ == "__main__":
    measure(
        Library(
            "ctranslate2",
            import_library,
            load,
            generate,
            generate_batch,
            convert=convert,
            uses_torch=False,
        )
    )
