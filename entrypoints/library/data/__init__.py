"""Training data as LightningDataModules.

    from litgpt.data import Alpaca2k

    data = Alpaca2k()
    data.connect(llm.tokenizer, batch_size=8, max_seq_length=512)
    trainer.fit(lit_model, data)

Names are imported on first access, since they import torch and Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litgpt.data.alpaca import Alpaca as Alpaca
    from litgpt.data.alpaca import Alpaca2k as Alpaca2k
    from litgpt.data.json_files import JSON as JSON
    from litgpt.data.module import DataModule as DataModule
    from litgpt.data.text_files import TextFiles as TextFiles

_HOMES = {
    "JSON": "litgpt.data.json_files",
    "Alpaca": "litgpt.data.alpaca",
    "Alpaca2k": "litgpt.data.alpaca",
    "DataModule": "litgpt.data.module",
    "TextFiles": "litgpt.data.text_files",
}

__all__ = ["JSON", "Alpaca", "Alpaca2k", "DataModule", "TextFiles"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'litgpt.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
