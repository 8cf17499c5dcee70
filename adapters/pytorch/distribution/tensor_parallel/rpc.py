"""What the first rank tells the others to do, as JSON: nothing but names and numbers crosses."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import GlooCommunicator
from litgpt.adapters.pytorch.distribution.tensor_parallel.gather import send_shards, shard_of
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.domain.parallel.gather_plan import GatherPlan, ShardSlice


def encode_command(method: str, **arguments: Any) -> bytes:
    """Return a command."""
    return json.dumps({"do": method, **arguments}).encode()


class CommandExecutor:
    """Does with a rank's network what it is told.

    Args:
        model: The network.
        group: The ranks that it is a part of.
        rejoin: Makes the group's connections anew, given how often that was done.

    Attributes:
        attempt: How often the group's connections were made anew.

    """

    def __init__(
        self, model: GPT, communicator: GlooCommunicator, reconnect: Callable[[int], object]
    ) -> None:
        self._model = model
        self._communicator = communicator
        self._reconnect = reconnect
        self._caches: dict[int, KVCache] = {}
        self._has_left = False
        self.attempt = 0

    def leave(self) -> bool:
        """Leave the group after a step that was not finished; return False if it cannot be joined anew."""
        if self._communicator.can_reconnect:
            self._communicator.leave()
            self._has_left = True
        return self._has_left

    @torch.inference_mode()
    def execute(self, command: bytes) -> None:
        """Do what a command says. What needs the group is left undone after it was left."""
        said: Mapping[str, Any] = json.loads(command)
        if self._has_left and said["do"] not in ("rejoin", "drop"):
            return
        match said["do"]:
            case "rejoin":
                self._reconnect(said["group"])
                self._has_left, self.attempt = False, said["group"]
            case "forward" | "hidden_states":
                cache = None if said["cache"] is None else self._caches[said["cache"]]
                positions = None if said["positions"] is None else _tensor(said["positions"], self._model)
                does = self._model if said["do"] == "forward" else self._model.hidden_states
                does(
                    _tensor(said["ids"], self._model),
                    cache,
                    positions=positions,
                    last_token_only=said["last"],
                )
            case "send_shards":
                send_shards(
                    _decode_gather_plan(said["plan"]), shard_of(self._model, said["name"]), self._communicator
                )
            case _:
                self._change_caches(said)

    def _change_caches(self, command: Mapping[str, Any]) -> None:
        match command["do"]:
            case "cache":
                self._caches[command["cache"]] = self._model.empty_cache(**command["arguments"])
            case "keep_rows":
                self._caches[command["cache"]].keep_rows(command["rows"])
            case "truncate":
                self._caches[command["cache"]].truncate(command["length"])
            case "set_limits":
                self._caches[command["cache"]].set_limits(
                    max_length=command["max_length"], lengths=command["lengths"]
                )
            case "copy":
                self._caches[command["to"]] = self._caches[command["cache"]].copy()
            case "drop":
                self._caches.pop(command["cache"], None)


def _decode_gather_plan(plan: Mapping[str, Any]) -> GatherPlan:
    slices = [ShardSlice(part["rank"], part["start"], tuple(part["range"])) for part in plan["slices"]]
    return GatherPlan(plan["dim"], tuple(slices))


def _tensor(numbers: list[list[int]], model: GPT) -> Tensor:
    return torch.tensor(numbers, device=model.lm_head.weight.device)
