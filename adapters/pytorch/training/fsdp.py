"""Fully sharded data parallelism with torch's FSDP2."""

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from litgpt.adapters.pytorch.model.gpt import GPT


def apply_fsdp(model: GPT, mesh: DeviceMesh) -> None:
    """Shard the weights of a model over processes; each block is gathered only for its computation.

    Args:
        model: The model, with the same weights in every process.
        mesh: A one-dimensional mesh of the processes.

    """
    for block in model.transformer["h"].children():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "loss")
