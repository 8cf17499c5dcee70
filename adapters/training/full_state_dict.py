"""Gather the weights of an FSDP model."""

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict


def gather_full_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the full weights on the CPU of process 0, and {} on the others; all must call this."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
