"""Fully sharded data parallelism with torch's FSDP2."""

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from litgpt.adapters.pytorch.model.gpt import GPT


def apply_fsdp(model: GPT, mesh: DeviceMesh) -> None:
    """Shard the weights of a model over the processes of a one-dimensional mesh.

    All processes start with the same weights; each block is gathered only for its computation.
    """
    for block in model.transformer["h"].children():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "loss")
