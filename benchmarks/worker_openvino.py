"""Measure OpenVINO GenAI with the model that it writes for a GGUF file."""

import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

from measuring import Library, OnToken, measure

PROMPT_TOKENS = 8192
"""The tokens of a step: as many as by default, in order not to split a prompt."""


def convert(model: Path, folder: Path, _: str) -> None:
    """Write the model with the weights of the GGUF file in their own bits."""
    import openvino_genai

    copy = folder / model.name  # it writes beside the file
    shutil.copyfile(model, copy)
    openvino_genai.LLMPipeline(copy, "CPU", enable_save_ov_model=True)
    copy.unlink()


def import_library() -> None:
    """Import the library."""
    import openvino_genai  # noqa: F401


def load(arguments: Namespace) -> Any:
    """Load and compile the model, with its tokenizer; every prompt is computed, as everywhere."""
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_batched_tokens = PROMPT_TOKENS
    options = {"scheduler_config": scheduler, "INFERENCE_NUM_THREADS": arguments.threads}
    return openvino_genai.LLMPipeline(arguments.model, "CPU", **options)


def greedy(at_most: int) -> Any:
    """Return the configuration of a generation that does not stop at the end of the answer."""
    import openvino_genai

    config = openvino_genai.GenerationConfig()
    config.max_new_tokens, config.ignore_eos = at_most, True
    config.do_sample, config.apply_chat_template = False, False
    return config


def generate(pipeline: Any, prompt: str, at_most: int, on_token: OnToken) -> None:
    """Generate greedily."""
    import openvino_genai

    class Streamer(openvino_genai.StreamerBase):
        """Gets each token, or several at once."""

        def write(self, token: int | list[int]) -> Any:
            """Take the next tokens."""
            for one in [token] if isinstance(token, int) else token:
                on_token(one)
            return openvino_genai.StreamingStatus.RUNNING

        def end(self) -> None:
            """Take note that no more come."""

    pipeline.generate(prompt, greedy(at_most), Streamer())


def generate_batch(pipeline: Any, prompts: list[str], at_most: int) -> int:
    """Generate greedily for all prompts, each of which gets all its tokens."""
    results = pipeline.generate(prompts, greedy(at_most))
    return int(results.perf_metrics.get_num_generated_tokens())


if __name__ == "__main__":
    measure(
        Library(
            "openvino-genai",
            import_library,
            load,
            generate,
            generate_batch,
            convert=convert,
            uses_torch=False,
        )
    )
