"""The models and adapters of a server, one of which answers."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import attrs

from litgpt.cli.remote.client import ServerClient
from litgpt.cli.remote.errors import RequestFailed
from litgpt.domain.errors import ModelNotFound, UnsupportedOperation


@attrs.define
class ServedModels:
    """The models of `/v1/models` by name, and the name of the one that answers.

    Its adapters have the methods of an `LLM`: `/adapter` switches between those that the server has.
    """

    models: Mapping[str, Mapping[str, Any]]
    name: str

    @classmethod
    def list(cls, client: ServerClient, name: str | None) -> "ServedModels":
        """Return the models of a server; the first one answers unless a `name` is passed.

        Raises:
            ModelNotFound: The server does not have the model.
            RequestFailed: The server does not list models.
        """
        listed = client.get("/v1/models")
        data = listed.get("data") if isinstance(listed, dict) else None
        found = data if isinstance(data, list) else []
        models = {it["id"]: it for it in found if isinstance(it, dict) and isinstance(it.get("id"), str)}
        if not models:
            raise RequestFailed(
                "The server lists no models.", "Check that --url is the root of an OpenAI-compatible server."
            )
        if name is not None and name not in models:
            hint = f"The server at {client.url} has {', '.join(models)}."
            raise ModelNotFound(name, similar=get_close_matches(name, models), hint=hint)
        return cls(models, next(iter(models)) if name is None else name)

    @property
    def context(self) -> int | None:
        """The context length in tokens; None if the server does not tell it."""
        length = self.models[self.name].get("context_length")
        return length if isinstance(length, int) else None

    @property
    def sampling(self) -> Mapping[str, Any]:
        """The default sampling parameters that the server tells."""
        sampling = self.models[self.name].get("sampling")
        return sampling if isinstance(sampling, dict) else {}

    @property
    def adapters(self) -> tuple[str, ...]:
        prefix = f"{self._base}:"
        return tuple(it.removeprefix(prefix) for it in self.models if it.startswith(prefix))

    @property
    def active_adapter(self) -> str | None:
        return None if self.name == self._base else self.name.removeprefix(f"{self._base}:")

    def set_adapter(self, name: str | None) -> None:
        self.name = self._base if name is None else f"{self._base}:{name}"

    def load_adapter(self, path: str, name: str) -> None:  # noqa: ARG002 - as LLM.load_adapter
        raise UnsupportedOperation(
            f"Loading the adapter {path}", "a server loads its own adapters. /adapter lists those it has."
        )

    @property
    def _base(self) -> str:
        parent = self.models[self.name].get("parent")
        return parent if isinstance(parent, str) and parent in self.models else self.name
