"""Tests of layers split over devices: the logits of one device for every family, all tensors moved.

torch treats `cpu:1` as the CPU, which would hide a tensor on the wrong device. Tensors are therefore tagged
with the requested device; results inherit the tag, and mixed devices raise.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.progress import Progress
from tests.agreement.models import VARIANTS, Pair, Variant, pair, random_ids

LENGTH = 24


_DEVICE_OF = Tensor.device.__get__  # a getter, which the mode sees as a call


class Tagged(TorchFunctionMode):
    """Tags every tensor with the requested device, and raises on mixed devices."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.tags = WeakTensorKeyDictionary()
        self.crossings = 0
        devices = model.layer_devices or [torch.device("cpu")] * len(model.architecture.layers)
        for name, parameter in model.named_parameters():
            parts = name.split(".")
            at = int(parts[2]) if parts[:2] == ["transformer", "h"] else None
            with_head = parts[0] == "lm_head" or parts[1] == "ln_f"
            elsewhere = (model.head_device or devices[0]) if with_head else devices[0]
            home = devices[at] if at is not None else elsewhere
            self.tags[parameter] = home.index or 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function == _DEVICE_OF:
            return torch.device("cpu", self.tags.get(args[0], 0))
        result = function(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = {self.tags[tensor] for tensor in tensors if tensor in self.tags and tensor.ndim}
        tensors_in = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)]
        if tensors_in:
            tag: int | None = tensors_in[0].index or 0
            self.crossings += bool(devices and devices != {tag})
        elif len(devices) > 1:
            raise AssertionError(f"{getattr(function, '__name__', function)} mixes devices {sorted(devices)}")
        else:
            tag = next(iter(devices), None)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and tag is not None:
                self.tags[leaf] = tag
        return result


def over(both: Pair, devices: int) -> GPT:
    placement = Placement(
        devices=tuple(f"cpu:{i}" for i in range(devices)), dtype="float32", strategy="sequential"
    )
    events: list[Any] = []
    placed = LayerSplit().build(
        placement, both.actual.architecture, both.joins, both.checkpoint, events.append
    )
    model = placed.network
    assert [value for value in events if isinstance(value, Progress)][-1].completed == len(both.joins)
    return model


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@torch.inference_mode()
def test_layers_over_devices_give_the_logits_of_one(variant: Variant, tmp_path: Path) -> None:
    both, ids = pair(variant, tmp_path), random_ids(2, LENGTH)
    expected = both.actual(ids)
    for devices in (1, 2, 3):
        model = over(both, devices)
        cache = model.empty_cache(max_length=LENGTH, row_offsets=(0, 0))
        with Tagged(model) as tags:
            parts = [model(part.to(model.input_device), cache) for part in ids.split((LENGTH - 2, 1, 1), 1)]
        assert torch.cat(parts, 1).sub(expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
        assert (tags.crossings > 0) == (devices > 1)


@torch.inference_mode()
def test_cpu_offloaded_layers_give_the_same_logits(tmp_path: Path) -> None:
    both, ids = pair(VARIANTS[0], tmp_path), random_ids(1, LENGTH)
    placement = Placement(devices=("cpu:1",), dtype="float32", num_gpu_layers=2)
    placed = LayerSplit().build(
        placement, both.actual.architecture, both.joins, both.checkpoint, lambda _: None
    )
    model = placed.network
    assert [layer_device.index for layer_device in model.layer_devices or []] == [1, 1, None]
    with Tagged(model) as tags:
        logits = model(ids, model.empty_cache(max_length=LENGTH))
    assert torch.allclose(logits, both.actual(ids), atol=1e-5)
    assert tags.crossings > 0


def test_more_devices_than_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperation, match="only 3 layers"):
        over(pair(VARIANTS[0], tmp_path), 4)
