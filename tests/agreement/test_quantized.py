import gc
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Tensor, nn

from litgpt import LLM
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.distribution.single_device import SingleDevice
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.quantization.registry import quantized_layers
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.memory.estimate import weight_bytes
from litgpt.domain.progress import null_reporter
from litgpt.domain.quantization import QUANTIZATIONS, Quantization, is_quantized
from tests.adapters.tiny_models import tiny_folder
from tests.agreement.models import Pair, Variant, pair, random_ids

FAMILIES = ("llama", "gpt2", "falcon", "phi3", "mixtral", "gpt_oss", "deepseek_v3", "qwen3_next")
WIDE: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6}
IDS = random_ids(2, 12)
# How far the logits of a random model may be from those of the unquantized one: four bits are felt.
NEAR: dict[Quantization, float] = {"int8": 0.03, "int4": 0.3, "bnb.nf4": 0.35}


def placed(how: Quantization | None, **settings: Any) -> Placement:
    return Placement(devices=("cpu",), dtype="float32", quantize=how, **settings)


def quantized(both: Pair, placement: Placement) -> GPT:
    strategy = LayerSplit() if placement.strategy == "sequential" else SingleDevice()
    return strategy.build(placement, both.actual.architecture, both.joins, both.checkpoint, null_reporter)


def logits(model: GPT) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model(IDS)
        return found


def held(model: nn.Module) -> int:
    """Return the bytes of all parameters and buffers, what is shared once."""
    tensors = {one.data_ptr(): one for one in (*model.parameters(), *model.buffers())}
    return sum(one.numel() * one.element_size() for one in tensors.values())


@pytest.mark.parametrize("how", NEAR)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_quantized_model_is_the_model_with_the_weights_that_its_layers_stand_for(
    family: str, how: Quantization, tmp_path: Path
) -> None:
    both = pair(Variant(family, family), tmp_path)
    before = logits(both.actual)
    model = quantized(both, placed(how))
    layers = quantized_layers(model)
    assert set(layers) == {join.parameter.name for join in both.joins if is_quantized(join.parameter)}
    for name, layer in layers.items():
        plain = both.actual.get_submodule(name.removesuffix(".weight"))
        assert isinstance(plain.weight, Tensor)
        assert plain.weight.shape == layer.dequantize().shape
        plain.weight = nn.Parameter(layer.dequantize(), requires_grad=False)
    found = logits(model)
    torch.testing.assert_close(found, logits(both.actual), rtol=1e-4, atol=1e-4)
    if family == "llama":  # where experts are chosen, a small difference chooses another one
        assert 0 < (found - before).norm() / before.norm() < NEAR[how]


@pytest.mark.parametrize("family", ["mixtral", "deepseek_v3", "qwen3_next", "gpt2"])
def test_norms_biases_embeddings_heads_and_routers_stay_as_they_are(family: str, tmp_path: Path) -> None:
    both = pair(Variant(family, family), tmp_path)
    chosen = {join.parameter.name for join in both.joins if is_quantized(join.parameter)}
    kept = {join.parameter.name for join in both.joins} - chosen
    assert not [one for one in chosen if "wte" in one or "lm_head" in one or "norm" in one or "bias" in one]
    assert not [one for one in chosen if one.endswith((".mlp.gate.weight", ".shared_gate.weight"))]
    large = [
        one for one in kept if one.endswith((".proj.weight", ".qkv.weight", ".fc_1.weight", ".fc.weight"))
    ]
    assert not large


def test_layers_over_devices_are_quantized_as_on_one(tmp_path: Path) -> None:
    both = pair(Variant("llama", "llama"), tmp_path)
    expected = logits(quantized(both, placed("int4")))
    over = attrs.evolve(placed("int4", strategy="sequential"), devices=("cpu", "cpu"))
    torch.testing.assert_close(logits(quantized(both, over)), expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("how", [None, *QUANTIZATIONS])
def test_the_memory_that_was_foretold_is_what_the_model_takes(
    how: Quantization | None, dtype: Any, tmp_path: Path
) -> None:
    both = pair(Variant("wide", "llama", WIDE), tmp_path)
    model = quantized(both, attrs.evolve(placed(how), dtype=dtype))
    foretold = weight_bytes(both.actual.architecture, dtype=dtype, quantize=how)
    assert held(model) == pytest.approx(foretold, rel=0.04 if how is not None and "-dq" in how else 0.02)


@pytest.mark.parametrize("how", [None, "int8"])
def test_the_memory_that_each_device_was_foretold_is_what_its_layers_take(
    how: Quantization | None, tmp_path: Path
) -> None:
    both = pair(Variant("wide", "llama", WIDE), tmp_path)
    model = quantized(both, placed(how, strategy="sequential"))
    architecture = both.actual.architecture
    outside = weight_bytes(attrs.evolve(architecture, layers=()), dtype="float32", quantize=how)
    blocks = [*model.transformer["h"].children()]
    for first, last in ((0, 2), (2, 6)):
        part = attrs.evolve(architecture, layers=architecture.layers[first:last])
        foretold = weight_bytes(part, dtype="float32", quantize=how) - outside
        assert sum(map(held, blocks[first:last])) == pytest.approx(foretold, rel=0.01)


class Watched:
    """A checkpoint that notes, whenever one of its tensors is read, how many bytes of tensors there are."""

    def __init__(self, checkpoint: Any) -> None:
        self._checkpoint = checkpoint
        self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._checkpoint, name)

    def read(self, name: str, dtype: Any = None) -> Tensor:
        self.most = max(self.most, alive())
        tensor: Tensor = self._checkpoint.read(name, dtype)
        return tensor.clone()  # and not a view of the file


def alive() -> int:
    """Return the bytes of all tensors that there are and that are not frozen."""
    tensors = [one for one in gc.get_objects() if type(one) in (Tensor, nn.Parameter)]
    there = [one.untyped_storage() for one in tensors if one.device.type == "cpu"]
    return sum({one.data_ptr(): one.nbytes() for one in there}.values())


@pytest.fixture
def nothing_before() -> Iterator[None]:
    """Hide what there is from `alive`."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("how", [None, "int8", "int4", "bnb.nf4"])
def test_the_whole_model_never_exists_unquantized(
    how: Quantization | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    both = pair(Variant("wide", "llama", WIDE), tmp_path)
    whole = weight_bytes(both.actual.architecture, dtype="float32")
    largest = max(4 * prod(join.parameter.shape) for join in both.joins)
    checkpoint: Any = Watched(both.checkpoint)
    request.getfixturevalue("nothing_before")
    model = SingleDevice().build(placed(how), both.actual.architecture, both.joins, checkpoint, null_reporter)
    if how is None:  # so this would notice
        assert checkpoint.most > 0.8 * whole
    else:
        assert held(model) / 2 < checkpoint.most < held(model) + 2 * largest < 0.6 * whole


def test_ranks_quantize_their_own_slices() -> None:
    how: Quantization = "int8"
    with LLM.load(tiny_folder("llama"), distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu", precision="32-true", quantize=how)
        expected = said(llm)
        llm.distribute(
            accelerator="cpu",
            precision="32-true",
            quantize=how,
            devices=2,
            generate_strategy="tensor_parallel",
        )
        assert llm.model is not None
        assert len(quantized_layers(llm.model)) == 3 * 5
        # Blocks begin elsewhere where rows are split, and so do scales of rows that are.
        assert (said(llm) - expected).norm() < NEAR[how] * expected.norm()


def said(llm: LLM) -> Tensor:
    with torch.inference_mode():
        found = llm(IDS[:1])
    assert isinstance(found, Tensor)
    return found
