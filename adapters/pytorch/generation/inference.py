"""The contexts in which forward passes are computed without gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.adapters.pytorch.ops.linear import without_onednn_for_small_batches


@contextmanager
def inference(model: CausalLM, tokens: int) -> Iterator[None]:
    """Compute forward passes of at most `tokens` tokens, without gradients and autocast."""
    weight = model.head_weight
    # Autocast, which a Trainer may have enabled, would compute keys in a dtype other than the cache's.
    with (
        torch.inference_mode(),
        torch.autocast(weight.device.type, enabled=False),
        without_onednn_for_small_batches(batch_size=tokens, dtype=weight.dtype, device=weight.device),
    ):
        yield
