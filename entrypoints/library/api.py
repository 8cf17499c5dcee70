"""`litgpt.api`: names that programs written for LitGPT import from this module."""

from litgpt.domain.benchmark import benchmark_dict_to_markdown_table
from litgpt.llm import LLM
from litgpt.preprocessor import Preprocessor


def calculate_number_of_devices(devices: int | list[int] | str) -> int:
    """Return the number of devices: `devices` itself, or the length of a list; 0 for a string."""
    if isinstance(devices, int):
        return devices
    return len(devices) if isinstance(devices, list) else 0


__all__ = ["LLM", "Preprocessor", "benchmark_dict_to_markdown_table", "calculate_number_of_devices"]
