"""What the first rank tells the others to do, as JSON: nothing but names and numbers crosses."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from litgpt.adapters.pytorch.cache import KVCache
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.parallel.gathering import hand_over, part_of
from litgpt.adapters.pytorch.parallel.group import ProcessGroup
from litgpt.domain.gathering import Patch, Patchwork


def written(do: str, **arguments: Any) -> bytes:
    """Return a command."""
    return json.dumps({"do": do, **arguments}).encode()


class Commands:
    """Does with a rank's network what it is told.

    Args:
        model: The network.
        group: The ranks that it is a part of.
        rejoin: Makes the group's connections anew, given how often that was done.

    Attributes:
        group_number: How often the group's connections were made anew.

    """

    def __init__(self, model: GPT, group: ProcessGroup, rejoin: Callable[[int], object]) -> None:
        self._model = model
        self._group = group
        self._rejoin = rejoin
        self._caches: dict[int, KVCache] = {}
        self._left = False
        self.group_number = 0

    def leave(self) -> bool:
        """Leave the group after a step that was not finished; return False if it cannot be joined anew."""
        if self._group.can_rejoin:
            self._group.leave()
            self._left = True
        return self._left

    @torch.inference_mode()
    def obey(self, command: bytes) -> None:
        """Do what a command says. What needs the group is left undone after it was left."""
        said: Mapping[str, Any] = json.loads(command)
        if self._left and said["do"] not in ("rejoin", "drop"):
            return
        match said["do"]:
            case "rejoin":
                self._rejoin(said["group"])
                self._left, self.group_number = False, said["group"]
            case "forward" | "hidden":
                cache = None if said["cache"] is None else self._caches[said["cache"]]
                positions = None if said["positions"] is None else _tensor(said["positions"], self._model)
                does = self._model if said["do"] == "forward" else self._model.hidden
                does(_tensor(said["ids"], self._model), cache, positions=positions, last=said["last"])
            case "hand_over":
                hand_over(_patchwork(said["work"]), part_of(self._model, said["name"]), self._group)
            case _:
                self._change_caches(said)

    def _change_caches(self, said: Mapping[str, Any]) -> None:
        match said["do"]:
            case "cache":
                self._caches[said["cache"]] = self._model.empty_cache(**said["arguments"])
            case "keep_rows":
                self._caches[said["cache"]].keep_rows(said["rows"])
            case "truncate":
                self._caches[said["cache"]].truncate(said["length"])
            case "continue_as":
                self._caches[said["cache"]].continue_as(limit=said["limit"], lengths=said["lengths"])
            case "copy":
                self._caches[said["to"]] = self._caches[said["cache"]].copy()
            case "drop":
                self._caches.pop(said["cache"], None)


def _patchwork(said: Mapping[str, Any]) -> Patchwork:
    patches = [Patch(one["rank"], one["start"], tuple(one["span"])) for one in said["patches"]]
    return Patchwork(said["dimension"], tuple(patches))


def _tensor(numbers: list[list[int]], model: GPT) -> Tensor:
    return torch.tensor(numbers, device=model.lm_head.weight.device)
