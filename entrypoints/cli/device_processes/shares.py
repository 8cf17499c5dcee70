"""The share of a machine that the process of each device gets."""

import os
import sys
from pathlib import Path

import attrs


@attrs.frozen
class DeviceShares:
    """How processes share a machine: a GPU each, and equal parts of the processor and of the main memory.

    Attributes:
        world: The number of processes.
        memory: The bytes of main memory for each; None: unknown.
    """

    world: int
    memory: int | None

    @classmethod
    def measure(cls, world: int) -> "DeviceShares":
        """Return the shares of the memory that is free now; call it before the first process starts."""
        from litgpt.adapters.pytorch.runtime.system_memory import allocatable_memory

        memory = allocatable_memory()
        return cls(world, None if memory is None else memory // world)

    def environment(self, rank: int) -> dict[str, str]:
        """Return the environment variables of the process of a device."""
        from litgpt.adapters.native.threads import VARIABLES, thread_count
        from litgpt.adapters.pytorch.runtime.system_memory import MEMORY_LIMIT

        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = [str(index) for index in range(self.world)] if visible is None else visible.split(",")
        path = os.pathsep.join(part or str(Path.cwd()) for part in sys.path)
        environment = {**os.environ, "PYTHONPATH": path}
        environment["CUDA_VISIBLE_DEVICES"] = devices[rank].strip() if rank < len(devices) else ""
        if not any(name in os.environ for name in VARIABLES):
            environment["OMP_NUM_THREADS"] = str(max(1, thread_count() // self.world))
        if self.memory is not None:
            environment[MEMORY_LIMIT] = str(self.memory)
        return environment
