"""Commands from rank 0 to the workers, as JSON: names and numbers only, no pickled objects."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import GlooCommunicator
from litgpt.adapters.pytorch.distribution.tensor_parallel.gather import send_shards, shard_of
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.parallel.gather_plan import GatherPlan, ShardSlice


def encode_command(method: str, **arguments: Any) -> bytes:
    """Encode a command: the method to call and its arguments."""
    return json.dumps({"do": method, **arguments}).encode()


class CommandExecutor:
    """Executes commands on the model of a worker rank.

    `reconnect` re-establishes the connections, given the number of the attempt, which `attempt` counts.
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
        """Disconnect after a failed step; return False if the connections cannot be re-established."""
        if self._communicator.can_reconnect:
            self._communicator.leave()
            self._has_left = True
        return self._has_left

    @torch.inference_mode()
    def execute(self, command: bytes) -> None:
        """Execute a command; after `leave`, only `rejoin` and `drop`, which need no other rank."""
        call: Mapping[str, Any] = json.loads(command)
        if self._has_left and call["do"] not in ("rejoin", "drop"):
            return
        match call["do"]:
            case "rejoin":
                self._reconnect(call["group"])
                self._has_left, self.attempt = False, call["group"]
            case "forward" | "hidden_states":
                cache = None if call["cache"] is None else self._caches[call["cache"]]
                positions = None if call["positions"] is None else _tensor(call["positions"], self._model)
                method = self._model if call["do"] == "forward" else self._model.hidden_states
                method(
                    _tensor(call["ids"], self._model),
                    cache,
                    positions=positions,
                    last_token_only=call["last"],
                )
            case "send_shards":
                send_shards(
                    _decode_gather_plan(call["plan"]), shard_of(self._model, call["name"]), self._communicator
                )
            case _:
                self._change_caches(call)

    def _change_caches(self, command: Mapping[str, Any]) -> None:
        match command["do"]:
            case "cache":
                self._caches[command["cache"]] = self._model.empty_cache(**command["arguments"])
            case "keep_rows":
                self._caches[command["cache"]].keep_rows(command["rows"])
            case "join":
                source = self._caches[command["source"]]
                rows, end = command["rows"], command["end"]
                self._caches[command["cache"]].join(source, command["source_rows"], rows, end=end)
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
