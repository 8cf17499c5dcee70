"""`/adapter`: load LoRA adapters, each once, and switch between them."""

import re
from pathlib import Path
from typing import Protocol

import attrs

from litgpt.cli import console


class HasAdapters(Protocol):
    """A model with LoRA adapters, such as `LLM`."""

    @property
    def adapters(self) -> tuple[str, ...]: ...

    @property
    def active_adapter(self) -> str | None: ...

    def load_adapter(self, path: str, name: str) -> None: ...

    def set_adapter(self, name: str | None) -> None: ...


@attrs.define
class AdapterSwitch:
    """Loads adapters and switches between them."""

    model: HasAdapters
    _loaded: dict[str, str] = attrs.field(factory=dict, init=False)

    @property
    def active(self) -> str:
        return self.model.active_adapter or "none"

    def choose(self, text: str) -> None:
        """Switch to a loaded adapter or `none`, load one from a folder or repository, or list them."""
        if not text:
            names = ", ".join(self.model.adapters) or "none"
            console.note(f"Adapters: {names}. Active: {self.active}. /adapter NAME|FOLDER|none changes it.")
            return
        if text == "none":
            if self.model.active_adapter is not None:
                self.model.set_adapter(None)
        elif text in self.model.adapters:
            self.model.set_adapter(text)
        else:
            from litgpt.domain.validators import local_path

            self._load(str(local_path("ADAPTER", text)) if text.startswith("~") else text)
        console.note(f"(The adapter is {self.active}.)")

    def _load(self, path: str) -> None:
        if (name := self._loaded.get(path)) is not None:
            self.model.set_adapter(name)
            return
        name = base = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(path).name).strip("-") or "adapter"
        number = 1
        while name in self.model.adapters:
            number += 1
            name = f"{base}-{number}"
        self.model.load_adapter(path, name)
        self._loaded[path] = name
