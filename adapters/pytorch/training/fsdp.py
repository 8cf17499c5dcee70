"""Training with each process keeping a part of every weight: torch's FSDP2."""

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from litgpt.adapters.pytorch.model.gpt import GPT


def apply_fsdp(model: GPT, mesh: DeviceMesh) -> None:
    """Divide a network's weights among processes: a layer is put together only while it is needed.

    Args:
        model: The network, with the same weights in every process.
        mesh: The processes, in one dimension.

    """
    for block in model.transformer["h"].children():
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "loss")
