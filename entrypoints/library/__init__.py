"""LitGPT: load, run, distribute, benchmark and fine-tune language models.

Names are imported on first access, so that `import litgpt` is fast; torch is imported when it is needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litgpt.adapters.pytorch.model.gpt import GPT as GPT
    from litgpt.chat import Chat as Chat
    from litgpt.config import Config as Config
    from litgpt.domain.chat.styles.prompt_style import PromptStyle as PromptStyle
    from litgpt.domain.errors import LitGPTError as LitGPTError
    from litgpt.domain.generation.request import Completion as Completion
    from litgpt.domain.generation.request import CompletionChunk as CompletionChunk
    from litgpt.domain.scoring.results import ContinuationScore as ContinuationScore
    from litgpt.domain.scoring.results import RankedDocument as RankedDocument
    from litgpt.domain.scoring.results import TextLogprobs as TextLogprobs
    from litgpt.domain.training.config import TrainConfig as TrainConfig
    from litgpt.llm import LLM as LLM
    from litgpt.tokenizer import Tokenizer as Tokenizer
    from litgpt.training import TrainResult as TrainResult

_HOMES = {
    "GPT": "litgpt.adapters.pytorch.model.gpt",
    "LLM": "litgpt.llm",
    "Chat": "litgpt.chat",
    "Completion": "litgpt.domain.generation.request",
    "CompletionChunk": "litgpt.domain.generation.request",
    "Config": "litgpt.config",
    "ContinuationScore": "litgpt.domain.scoring.results",
    "RankedDocument": "litgpt.domain.scoring.results",
    "LitGPTError": "litgpt.domain.errors",
    "PromptStyle": "litgpt.domain.chat.styles.prompt_style",
    "TextLogprobs": "litgpt.domain.scoring.results",
    "Tokenizer": "litgpt.tokenizer",
    "TrainConfig": "litgpt.domain.training.config",
    "TrainResult": "litgpt.training",
}

__all__ = [
    "GPT",
    "LLM",
    "Chat",
    "Completion",
    "CompletionChunk",
    "Config",
    "ContinuationScore",
    "LitGPTError",
    "PromptStyle",
    "RankedDocument",
    "TextLogprobs",
    "Tokenizer",
    "TrainConfig",
    "TrainResult",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'litgpt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
