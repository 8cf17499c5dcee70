"""Weights that are divided among processes, put together again."""

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict


def gather_full_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return all weights of a model, on the first process's CPU; nothing at the others. All take part."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found = get_model_state_dict(model, options=options)
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}
