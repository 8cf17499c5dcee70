"""`litgpt.api`: the names that LitGPT's programs import from there."""

from litgpt.domain.benchmark import benchmark_dict_to_markdown_table
from litgpt.llm import LLM
from litgpt.preprocessor import Preprocessor


def calculate_number_of_devices(devices: int | list[int] | str) -> int:
    """Return how many devices `devices` stands for: a number, or a list of their numbers; otherwise 0."""
    if isinstance(devices, int):
        return devices
    return len(devices) if isinstance(devices, list) else 0


__all__ = ["LLM", "Preprocessor", "benchmark_dict_to_markdown_table", "calculate_number_of_devices"]
