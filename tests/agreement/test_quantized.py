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
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.quantization.registry import quantized_layers
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.memory.estimate import weight_bytes
from litgpt.domain.progress import null_reporter
from litgpt.domain.quantization import QUANTIZATIONS, Quantization, is_quantized
from tests.adapters.tiny_models import tiny_folder
from tests.agreement.models import Pair, Variant, pair, random_ids

FAMILIES = (
    "llama",
    "gpt2",
    "falcon",
    "phi3",
    "mixtral",
    "gpt_oss",
    "deepseek_v3",
    "qwen3_next",
    "nemotron_h",
)
WIDE: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6}
IDS = random_ids(2, 12)
# Tolerance of a random model's logits relative to the unquantized one's.
NEAR: dict[Quantization, float] = {"int8": 0.03, "int4": 0.3, "bnb.nf4": 0.35}


def placed(quantization: Quantization | None, **settings: Any) -> Placement:
    return Placement(devices=("cpu",), dtype="float32", quantize=quantization, **settings)


def quantized(both: Pair, placement: Placement) -> GPT:
    placed = LayerSplit().build(
        placement, both.actual.architecture, both.joins, both.checkpoint, null_reporter
    )
    return placed.network


def logits(model: GPT) -> Tensor:
    with torch.inference_mode():
        actual: Tensor = model(IDS)
        return actual


def size_in_bytes(model: nn.Module) -> int:
    """Return the size in bytes of all parameters and buffers, shared ones once."""
    tensors = {parameter.data_ptr(): parameter for parameter in (*model.parameters(), *model.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


@pytest.mark.parametrize("quantization", NEAR)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_quantized_model_equals_the_model_with_dequantized_weights(
    family: str, quantization: Quantization, tmp_path: Path
) -> None:
    both = pair(Variant(family, family), tmp_path)
    before = logits(both.actual)
    model = quantized(both, placed(quantization))
    layers = quantized_layers(model)
    assert set(layers) == {join.parameter.name for join in both.joins if is_quantized(join.parameter)}
    for name, layer in layers.items():
        plain = both.actual.get_submodule(name.removesuffix(".weight"))
        assert isinstance(plain.weight, Tensor)
        assert plain.weight.shape == layer.dequantize().shape
        plain.weight = nn.Parameter(layer.dequantize(), requires_grad=False)
    actual = logits(model)
    torch.testing.assert_close(actual, logits(both.actual), rtol=1e-4, atol=1e-4)
    if family == "llama":  # a small difference may route to another expert
        assert 0 < (actual - before).norm() / before.norm() < NEAR[quantization]


@pytest.mark.parametrize("family", ["mixtral", "deepseek_v3", "qwen3_next", "gpt2"])
def test_norms_biases_embeddings_heads_and_routers_stay_as_they_are(family: str, tmp_path: Path) -> None:
    both = pair(Variant(family, family), tmp_path)
    chosen = {join.parameter.name for join in both.joins if is_quantized(join.parameter)}
    unquantized = {join.parameter.name for join in both.joins} - chosen
    assert not [
        value
        for value in chosen
        if "wte" in value or "lm_head" in value or "norm" in value or "bias" in value
    ]
    assert not [value for value in chosen if value.endswith((".mlp.gate.weight", ".shared_gate.weight"))]
    large = [
        value
        for value in unquantized
        if value.endswith((".proj.weight", ".qkv.weight", ".fc_1.weight", ".fc.weight"))
    ]
    assert not large


def test_layers_over_devices_are_quantized_as_on_one(tmp_path: Path) -> None:
    both = pair(Variant("llama", "llama"), tmp_path)
    expected = logits(quantized(both, placed("int4")))
    over = attrs.evolve(placed("int4", strategy="sequential"), devices=("cpu", "cpu"))
    torch.testing.assert_close(logits(quantized(both, over)), expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("quantization", [None, *QUANTIZATIONS])
def test_the_estimated_memory_is_what_the_model_takes(
    quantization: Quantization | None, dtype: Any, tmp_path: Path
) -> None:
    both = pair(Variant("wide", "llama", WIDE), tmp_path)
    model = quantized(both, attrs.evolve(placed(quantization), dtype=dtype))
    estimated = weight_bytes(both.actual.architecture, dtype=dtype, quantize=quantization)
    assert size_in_bytes(model) == pytest.approx(
        estimated, rel=0.04 if quantization is not None and "-dq" in quantization else 0.02
    )


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_each_devices_estimated_memory_is_what_its_layers_take(
    quantization: Quantization | None, tmp_path: Path
) -> None:
    both = pair(Variant("wide", "llama", WIDE), tmp_path)
    model = quantized(both, placed(quantization, strategy="sequential"))
    architecture = both.actual.architecture
    outside = weight_bytes(attrs.evolve(architecture, layers=()), dtype="float32", quantize=quantization)
    blocks = [*model.transformer["h"].children()]
    for first, last in ((0, 2), (2, 6)):
        part = attrs.evolve(architecture, layers=architecture.layers[first:last])
        estimated = weight_bytes(part, dtype="float32", quantize=quantization) - outside
        assert sum(map(size_in_bytes, blocks[first:last])) == pytest.approx(estimated, rel=0.01)


class ReadMonitor:
    """A checkpoint that records the bytes of all tensors whenever one of them is read."""

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
    """Return the size in bytes of all tensors that are alive and not hidden by `nothing_before`."""
    tensors = [obj for obj in gc.get_objects() if type(obj) in (Tensor, nn.Parameter)]
    storages = [tensor.untyped_storage() for tensor in tensors if tensor.device.type == "cpu"]
    return sum({value.data_ptr(): value.nbytes() for value in storages}.values())


@pytest.fixture
def nothing_before() -> Iterator[None]:
    """Hide existing tensors from `alive`."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("quantization", [None, "int8", "int4", "bnb.nf4"])
def test_the_whole_model_never_exists_unquantized(
    quantization: Quantization | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    both = pair(Variant("wide", "llama", WIDE), tmp_path)
    whole = weight_bytes(both.actual.architecture, dtype="float32")
    largest = max(4 * prod(join.parameter.shape) for join in both.joins)
    checkpoint: Any = ReadMonitor(both.checkpoint)
    request.getfixturevalue("nothing_before")
    loaded = LayerSplit().build(
        placed(quantization), both.actual.architecture, both.joins, checkpoint, null_reporter
    )
    model = loaded.network
    if quantization is None:  # so this would notice
        assert checkpoint.most > 0.8 * whole
    else:
        assert size_in_bytes(model) / 2 < checkpoint.most < size_in_bytes(model) + 2 * largest < 0.6 * whole


def test_ranks_quantize_their_own_slices() -> None:
    quantization: Quantization = "int8"
    with LLM.load(tiny_folder("llama"), distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu", precision="32-true", quantize=quantization)
        expected = first_logits(llm)
        llm.distribute(
            accelerator="cpu",
            precision="32-true",
            quantize=quantization,
            devices=2,
            generate_strategy="tensor_parallel",
        )
        assert llm.model is not None
        assert len(quantized_layers(llm.model)) == 3 * 5
        # Blocks begin elsewhere where rows are split, and so do scales of rows that are.
        assert (first_logits(llm) - expected).norm() < NEAR[quantization] * expected.norm()


def first_logits(llm: LLM) -> Tensor:
    with torch.inference_mode():
        actual = llm(IDS[:1])
    assert isinstance(actual, Tensor)
    return actual
