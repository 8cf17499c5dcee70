"""Tests of LoRA on an LLM: trained, saved small, resumed, swapped, merged, unmerged."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from litgpt import LLM
from litgpt.adapters.pytorch.lora.layer import LoraPair
from litgpt.container import container
from litgpt.domain.errors import (
    InvalidArgument,
    InvalidCheckpoint,
    MissingFile,
    ModelNotFound,
    NotDistributed,
    UnsupportedOperation,
)
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from tests.adapters.tiny_models import tiny_folder
from tests.agreement.models import random_ids

IDS = random_ids(2, 12)
BASE = "transformer.h.0.attn.qkv.weight"


def loaded(family: str = "llama", **options: Any) -> LLM:
    llm = LLM.load(tiny_folder(family), distribute=None, quiet=True)
    llm.distribute(**{"accelerator": "cpu", "precision": "32-true", **options})
    return llm


def trained(llm: LLM) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in llm.named_parameters() if parameter.requires_grad}


def randomize(llm: LLM, seed: int = 1) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in trained(llm).values():
            parameter.normal_(0, 0.2)


def learning(llm: LLM) -> Tensor:
    actual = llm(IDS)
    assert isinstance(actual, Tensor)
    return actual


def logits(llm: LLM) -> Tensor:
    with torch.no_grad():
        return learning(llm)


def step(llm: LLM, optimizer: torch.optim.Optimizer) -> float:
    actual = llm(IDS, IDS)
    assert isinstance(actual, tuple)
    optimizer.zero_grad()
    actual[1].backward()
    optimizer.step()
    return float(actual[1].detach())


@pytest.fixture
def adapted(tmp_path: Path) -> tuple[LLM, Path]:
    llm = loaded()
    llm.add_lora(rank=4, targets="all-linear")
    randomize(llm)
    llm.save_adapter(tmp_path / "adapter")
    return llm, tmp_path / "adapter"


def test_a_new_adapter_keeps_the_logits_and_only_it_has_gradients() -> None:
    llm = loaded()
    before, weights = logits(llm), llm.state_dict()
    llm.add_lora(rank=4)
    assert torch.equal(logits(llm), before)
    assert list(trained(llm))[:4] == [
        f"model.transformer.h.0.attn.qkv.lora.default.{name}.{which}"
        for name in ("q_proj", "v_proj")
        for which in "AB"
    ]
    after = llm.state_dict()
    assert weights.keys() < after.keys()
    assert "transformer.h.0.attn.qkv.lora.default.q_proj.A" in after
    assert all(weights[name].data_ptr() == after[name].data_ptr() for name in weights)
    assert (llm.adapters, llm.active_adapter) == (("default",), "default")


def test_training_lowers_the_loss_and_leaves_the_model_alone() -> None:
    llm = loaded()
    before = logits(llm)
    llm.add_lora(rank=4, dropout=0.1, targets="all-linear")
    weight = llm.state_dict()[BASE].clone()
    llm.train()
    optimizer = torch.optim.AdamW(trained(llm).values(), lr=0.02)
    losses = [step(llm, optimizer) for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(llm.state_dict()[BASE], weight)
    llm.set_adapter(None)
    assert torch.equal(logits(llm), before)


def test_lora_dropout_applies_only_in_training() -> None:
    llm = loaded()
    llm.add_lora(rank=4, dropout=0.5)
    randomize(llm)
    llm.train()
    assert not torch.equal(learning(llm), learning(llm))
    assert torch.equal(logits(llm), logits(llm))  # a sample between two steps
    llm.eval()
    assert torch.equal(learning(llm), learning(llm))


def test_a_saved_adapter_resumes_training_exactly(adapted: tuple[LLM, Path]) -> None:
    llm, folder = adapted
    reloaded = loaded()
    reloaded.load_adapter(folder, trainable=True)
    assert torch.equal(logits(reloaded), logits(llm))
    losses = [step(value, torch.optim.SGD(trained(value).values(), lr=0.1)) for value in (llm, reloaded)]
    assert losses[0] == losses[1]
    assert torch.equal(logits(reloaded), logits(llm))


def test_it_is_saved_small(adapted: tuple[LLM, Path]) -> None:
    llm, folder = adapted
    numbers = sum(tensor.numel() for tensor in trained(llm).values())
    assert (folder / "adapter_model.safetensors").stat().st_size < 4 * numbers + 8000


def test_adapters_are_swapped_by_name_and_none_is_the_model_itself(adapted: tuple[LLM, Path]) -> None:
    first, folder = adapted
    llm = loaded()
    plain = logits(llm)
    llm.load_adapter(folder, "one")
    llm.add_lora(rank=2, name="two")
    randomize(llm, seed=2)
    two = logits(llm)
    llm.set_adapter("one")
    assert torch.equal(logits(llm), logits(first))
    llm.set_adapter("two")
    assert torch.equal(logits(llm), two)
    llm.set_adapter(None)
    assert torch.equal(logits(llm), plain)
    llm.delete_adapter("one")
    assert llm.adapters == ("two",)
    with pytest.raises(InvalidArgument, match="'two'"):
        llm.set_adapter("one")
    with pytest.raises(InvalidArgument, match="none is active"):
        llm.save_adapter("anywhere")


def test_a_merged_adapter_computes_the_same_and_is_unmerged_exactly(adapted: tuple[LLM, Path]) -> None:
    llm, _ = adapted
    before, weights = logits(llm), {name: tensor.clone() for name, tensor in llm.state_dict().items()}
    llm.merge_adapter()
    assert not torch.equal(llm.state_dict()[BASE], weights[BASE])
    assert torch.allclose(logits(llm), before, atol=1e-4)
    assert llm.active_adapter == "default"
    acts: list[Callable[[], object]] = [
        llm.merge_adapter,
        lambda: llm.set_adapter(None),
        lambda: llm.delete_adapter("default"),
    ]
    for act in acts:
        with pytest.raises(UnsupportedOperation, match="unmerge_adapter"):
            act()
    llm.unmerge_adapter()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in llm.state_dict().items())
    assert torch.equal(logits(llm), before)
    with pytest.raises(UnsupportedOperation, match="no adapter is merged"):
        llm.unmerge_adapter()


def test_a_permanent_merge_leaves_a_plain_model(adapted: tuple[LLM, Path]) -> None:
    llm, _ = adapted
    before = logits(llm)
    llm.merge_adapter(for_good=True)
    assert llm.adapters == ()
    assert torch.allclose(logits(llm), before, atol=1e-4)
    assert not [name for name, _ in llm.named_modules() if "lora" in name]
    assert not any(module._forward_hooks for module in llm.modules())
    with pytest.raises(UnsupportedOperation, match="no adapter is active"):
        llm.merge_adapter()


def test_weights_in_bfloat16_are_rounded_once(adapted: tuple[LLM, Path]) -> None:
    _, folder = adapted
    exact, llm = loaded(precision="bf16-true"), loaded(precision="bf16-true")
    llm.load_adapter(folder)
    pairs = [
        module
        for name, module in llm.named_modules()
        if isinstance(module, LoraPair) and ".h.0.attn.qkv." in name
    ]
    assert {parameter.dtype for pair in pairs for parameter in pair.parameters()} == {torch.float32}
    llm.merge_adapter()
    expected = exact.state_dict()[BASE].float()
    for pair in pairs:
        expected[pair.start : pair.stop] += pair.delta().detach()
    assert torch.equal(llm.state_dict()[BASE], expected.bfloat16())


def test_a_model_is_saved_as_it_computes(adapted: tuple[LLM, Path], tmp_path: Path) -> None:
    llm, _ = adapted
    before = llm.state_dict()[BASE].clone()
    llm.save(tmp_path / "model")
    reloaded = LLM.load(tmp_path / "model", distribute=None, quiet=True)
    reloaded.distribute(accelerator="cpu", precision="32-true")
    assert torch.allclose(logits(reloaded), logits(llm), atol=1e-4)
    assert torch.equal(llm.state_dict()[BASE], before)
    llm.set_adapter(None)
    llm.save(tmp_path / "plain")
    plain = LLM.load(tmp_path / "plain", distribute=None, quiet=True)
    plain.distribute(accelerator="cpu", precision="32-true")
    assert torch.equal(logits(plain), logits(loaded()))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "phi3"])
def test_the_folder_of_an_adapter_loads_as_the_model_that_it_makes(family: str, tmp_path: Path) -> None:
    llm = loaded(family)
    llm.add_lora(rank=4, targets="all-linear")
    randomize(llm)
    llm.save_adapter(tmp_path)
    merged = LLM.load(tmp_path, distribute=None, quiet=True)
    merged.distribute(accelerator="cpu", precision="32-true")
    assert torch.allclose(logits(merged), logits(llm), atol=1e-4)
    assert not merged.adapters
    options: dict[str, Any] = {"max_new_tokens": 4, "top_k": 1}
    assert merged.generate("hello", **options) == llm.generate("hello", **options)


def test_several_processes_compute_an_adapted_model_and_take_no_adapter(adapted: tuple[LLM, Path]) -> None:
    llm, folder = adapted
    options: dict[str, Any] = {"max_new_tokens": 4, "top_k": 1}
    with LLM.load(folder, distribute=None, quiet=True) as merged:
        merged.distribute("cpu", 2, "32-true", generate_strategy="tensor_parallel")
        assert merged.generate("hello", **options) == llm.generate("hello", **options)
        with pytest.raises(UnsupportedOperation, match="tensor-parallel"):
            merged.add_lora()


def test_an_adapted_model_is_converted_to_a_plain_one(adapted: tuple[LLM, Path], tmp_path: Path) -> None:
    llm, folder = adapted
    out = tmp_path / "merged"
    container.convert_model()(ModelReference(str(folder)), out, null_reporter)
    assert (out / "config.json").is_file()
    loaded = LLM.load(out, distribute=None, quiet=True)
    loaded.distribute(accelerator="cpu", precision="32-true")
    assert torch.allclose(logits(loaded), logits(llm), atol=1e-4)


def test_a_base_that_is_not_found_is_named(adapted: tuple[LLM, Path]) -> None:
    _, folder = adapted
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace(str(tiny_folder("llama")), "/no/such/model"))
    with pytest.raises(ModelNotFound, match=r"'/no/such/model'.*adapter"):
        LLM.load(folder, distribute=None, quiet=True, offline=True)


def test_a_prefix_cache_of_another_adapter_is_recomputed(adapted: tuple[LLM, Path]) -> None:
    llm, _ = adapted
    generator = llm._generator()
    sampling = SamplingParams(temperature=0)
    ask = GenerationRequest(prompt=range(2, 40), max_new_tokens=6, sampling_params=sampling, logprobs=True)

    def answer() -> list[TokenEvent]:
        return list(generator.generate([ask]))

    with_it = answer()
    llm.set_adapter(None)
    without = answer()
    assert without[0].cached_tokens == 0
    assert without != with_it
    llm.set_adapter("default")
    assert answer() == with_it
    llm.set_adapter(None)
    assert answer() == without


@pytest.mark.parametrize("quantization", ["int8", "int4", "bnb.nf4", "bnb.int8"])
def test_adapters_beside_quantized_weights_are_trained(quantization: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    llm = loaded(quantize=quantization)
    before = logits(llm)
    llm.add_lora(rank=4, targets="all-linear")
    assert torch.equal(logits(llm), before)
    optimizer = torch.optim.AdamW(trained(llm).values(), lr=0.02)
    losses = [step(llm, optimizer) for _ in range(12)]
    # B begins at zero, so A of the first layer learns from the second step on.
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in trained(llm).values())
    assert losses[-1] < 0.7 * losses[0]
    acts: list[Callable[[], object]] = [llm.merge_adapter, lambda: llm.save(tmp_path / "model")]
    for act in acts:
        with pytest.raises(UnsupportedOperation, match="quantized"):
            act()
    llm.save_adapter(tmp_path / "adapter")
    reloaded = loaded(quantize=quantization)
    reloaded.load_adapter(tmp_path / "adapter")
    assert torch.allclose(logits(reloaded), logits(llm), atol=1e-5)


def test_gradients_through_quantized_weights_equal_the_dequantized_ones() -> None:
    from litgpt.adapters.pytorch.quantization.int8 import Int8Linear

    layer = Int8Linear.from_weight(torch.randn(32, 64), "int8", None)
    x = torch.randn(3, 64, requires_grad=True)
    (layer(x) ** 2).sum().backward()
    expected = 2 * (x.detach() @ layer.dequantize().t()) @ layer.dequantize()
    assert x.grad is not None
    assert torch.allclose(x.grad, expected, atol=1e-3)


def test_an_adapter_of_another_model_is_refused_with_all_mismatches(adapted: tuple[LLM, Path]) -> None:
    _, folder = adapted
    other = loaded("gpt2")
    with pytest.raises(InvalidCheckpoint, match=r"model\.layers\.0\.self_attn\.q_proj"):
        other.load_adapter(folder)
    assert other.adapters == ()
    with pytest.raises(InvalidCheckpoint, match="expected"):
        loaded("gemma").load_adapter(folder)


def test_an_invalid_adapter_request_changes_nothing() -> None:
    llm = loaded()
    with pytest.raises(
        InvalidArgument, match=r"There are .*q_proj, .*, lm_head, not 'qproj'\. Did you mean q_proj\?"
    ):
        llm.add_lora(targets=["qproj"])
    with pytest.raises(InvalidArgument, match="rank"):
        llm.add_lora(rank=0)
    assert llm.adapters == ()
    assert not trained(llm)
    llm.add_lora()
    with pytest.raises(InvalidArgument, match="delete_adapter"):
        llm.add_lora()
    for name in ("values", "a.b"):
        with pytest.raises(InvalidArgument, match="name"):
            llm.add_lora(name=name)
    with pytest.raises(MissingFile):
        llm.load_adapter(tiny_folder("gpt2"), "other")


def test_without_a_model_there_is_nothing_to_adapt() -> None:
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    assert (llm.adapters, llm.active_adapter) == ((), None)
    acts: list[Callable[[], object]] = [
        llm.add_lora,
        llm.merge_adapter,
        lambda: llm.load_adapter("x"),
        lambda: llm.set_adapter(None),
    ]
    for act in acts:
        with pytest.raises(NotDistributed):
            act()


def test_distributing_again_removes_adapters_and_frees_the_old_model() -> None:
    llm = loaded()
    llm.add_lora()
    old = weakref.ref(llm.model)
    llm.distribute(accelerator="cpu", precision="32-true")
    assert old() is None
    assert not llm.adapters
    llm.add_lora()
    assert llm.adapters == ("default",)


def test_an_adapter_trained_by_the_trainer_is_resumed_from_its_checkpoint(tmp_path: Path) -> None:
    llm, reloaded = loaded(), loaded()
    for value in (llm, reloaded):
        value.trainer_setup(quantize="int4")
        assert value.model is not None
        value.model.gradient_checkpointing = True
        value.add_lora(rank=4, dropout=0.1, targets="all-linear")
    optimizer = torch.optim.AdamW(trained(llm).values(), lr=0.02)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = llm.loss(IDS, IDS)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    learned = {name.removeprefix("model."): tensor for name, tensor in trained(llm).items()}
    torch.save(learned, tmp_path / "learned.pt")
    actual = reloaded.load_state_dict(torch.load(tmp_path / "learned.pt", weights_only=True), strict=False)
    assert not actual.unexpected_keys
    llm.eval()
    reloaded.eval()
    assert torch.equal(logits(reloaded), logits(llm))
