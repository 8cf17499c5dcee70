"""Tests of LoRA adapters in the native engine against the torch engine."""

import gc
import weakref
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from litgpt import LLM
from litgpt.adapters.native.generator import NativeGenerator
from litgpt.adapters.native.model import NativeModel
from litgpt.adapters.native.structures import Format
from litgpt.domain.families import FAMILIES
from tests.adapters.tiny_models import tiny_folder
from tests.agreement.models import TORCH_ONLY, random_ids
from tests.agreement.test_native_engine import assert_close
from tests.entrypoints.test_lora_kinds import KINDS

IDS = random_ids(1, 40)
TOKENS = IDS[0].tolist()


def placed(model: str | Path, engine: str, **options: Any) -> LLM:
    llm = LLM.load(model, distribute=None, quiet=True)
    llm.distribute(**({"accelerator": "cpu", "precision": "32-true", "engine": engine} | options))
    return llm


def save_random_adapter(llm: LLM, folder: Path, **options: Any) -> None:
    """Save an adapter of a torch model with random tensors, which stays active."""
    llm.add_lora(**({"rank": 4} | options))
    torch.manual_seed(len(llm.adapters))
    with torch.no_grad():
        for weight in llm.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=0.2)
    llm.save_adapter(folder)


def torch_logits(llm: LLM) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        return cast("np.ndarray[Any, Any]", cast("torch.Tensor", llm(IDS))[0, -1].numpy())


def model_of(llm: LLM) -> NativeModel:
    generator = llm._current_generator()
    assert isinstance(generator, NativeGenerator)
    return generator.model


def native_logits(llm: LLM) -> np.ndarray[Any, Any]:
    """Return the logits after the last token, and check that tokens one by one give the same."""
    model = model_of(llm)
    pieces = model.new_sequence()
    logits: np.ndarray[Any, Any] = model.step([(model.new_sequence(), TOKENS)])[0]
    model.step([(pieces, TOKENS[:-1])])
    assert np.array_equal(model.step([(pieces, TOKENS[-1:])])[0], logits)
    return logits


def check_kind(family: str, folder: Path, **options: Any) -> None:
    reference, native = placed(tiny_folder(family), "torch"), placed(tiny_folder(family), "native")
    base = native_logits(native)
    save_random_adapter(reference, folder, **options)
    native.load_adapter(folder)
    expected = torch_logits(reference)
    assert_close(native_logits(native), expected)
    assert native._network is None
    with pytest.raises(AssertionError):
        assert_close(base, expected)
    native.set_adapter(None)
    assert np.array_equal(native_logits(native), base)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in TORCH_ONLY])
def test_logits_with_an_adapter_of_all_linear_layers_agree(family: str, tmp_path: Path) -> None:
    check_kind(family, tmp_path / "adapter", targets="all-linear")


@pytest.mark.parametrize("kind", KINDS)
def test_logits_with_an_adapter_of_each_kind_agree(kind: str, tmp_path: Path) -> None:
    family, options = KINDS[kind]
    check_kind(family, tmp_path / "adapter", **options)


def test_a_head_without_a_bias_gets_that_of_an_adapter(tmp_path: Path) -> None:
    targets = ["q_proj", "lm_head", "down_proj"]
    check_kind("llama", tmp_path / "adapter", targets=targets, lora_bias=True)


@pytest.mark.parametrize("tied", ["gemma", "llama"])
def test_adapters_are_switched_merged_and_deleted(tied: str, tmp_path: Path) -> None:
    reference, native = placed(tiny_folder(tied), "torch"), placed(tiny_folder(tied), "native")
    save_random_adapter(reference, tmp_path / "a", name="a")
    save_random_adapter(reference, tmp_path / "b", name="b", targets=["embed_tokens", "up_proj"])
    native.load_adapter(tmp_path / "a", "a")
    native.load_adapter(tmp_path / "b", "b")
    for name in ("a", "b", None, "a"):
        native.set_adapter(name)
        reference.set_adapter(name)
        assert native.active_adapter == name
        assert_close(native_logits(native), torch_logits(reference))
    native.delete_adapter("a")
    assert (native.adapters, native.active_adapter) == (("b",), None)
    native.set_adapter("b")
    reference.set_adapter("b")
    native.save_adapter(tmp_path / "again")
    for engine in (native, reference):
        engine.load_adapter(tmp_path / "again", "again")
    assert_close(native_logits(native), torch_logits(reference))
    assert native._network is None
    native.merge_adapter()
    assert_close(torch_logits(native), torch_logits(reference))
    answers = [llm.generate("abc", top_k=1, max_new_tokens=9) for llm in (native, reference)]
    assert answers[0] == answers[1]
    native.unmerge_adapter()
    native.set_adapter(None)
    reference.set_adapter(None)
    assert_close(torch_logits(native), torch_logits(reference))


def test_the_torch_network_and_a_saved_model_have_the_adapters(tmp_path: Path) -> None:
    reference, native = placed(tiny_folder("llama"), "torch"), placed(tiny_folder("llama"), "native")
    save_random_adapter(reference, tmp_path / "a", name="a", targets="all-linear")
    native.load_adapter(tmp_path / "a", "a")
    native.save(tmp_path / "saved")
    assert_close(native_logits(placed(tmp_path / "saved", "native")), torch_logits(reference))
    assert_close(torch_logits(native), torch_logits(reference))
    assert (native.adapters, native.active_adapter) == (("a",), "a")
    assert_close(native_logits(native), torch_logits(reference))  # with the torch network beside it
    network = weakref.ref(native.model)
    native.distribute(engine="native", precision="32-true")
    gc.collect()
    assert network() is None
    assert native.adapters == ()


def test_an_adapter_that_is_trained_generates_as_it_is() -> None:
    llm = placed(tiny_folder("llama"), "native")
    before = native_logits(llm)
    llm.add_lora(rank=4)
    assert_close(native_logits(llm), before)
    optimizer = torch.optim.AdamW([weight for weight in llm.parameters() if weight.requires_grad], lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        llm.loss(IDS, IDS).backward()
        optimizer.step()
        assert_close(native_logits(llm), torch_logits(llm))
    with pytest.raises(AssertionError):
        assert_close(native_logits(llm), before)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", {"targets": ["q_proj", "down_proj", "embed_tokens", "lm_head"]}),
        ("gemma", {"targets": ["up_proj", "lm_head"]}),
        KINDS["experts"],
    ],
)
def test_the_changes_of_quantized_weights_are_not_rounded_away(
    family: str, options: dict[str, Any], tmp_path: Path
) -> None:
    save_random_adapter(placed(tiny_folder(family), "torch"), tmp_path / "a", **options)
    native = placed(tiny_folder(family), "native", precision=None, quantize="int4")
    base = model_of(native)
    native.load_adapter(tmp_path / "a")
    adapted = model_of(native)
    assert native._current is not None
    changes = native._current.weight_changes()
    assert changes is not None
    beside = frozenset() if adapted.adapter is None else adapted.adapter.layers
    quantized = {name for name, matrix in base.weights.items() if matrix.format is Format.Q4M}
    for name, matrix in adapted.weights.items():
        layer, update = name.removesuffix(".weight"), changes.low_rank.get(name.removesuffix(".weight"))
        if name in changes.replaced or (update and layer not in beside):
            original = base.weights.get(name, base.weights["transformer.wte.weight"]).unpack()
            delta = 0 if update is None else update.lora_B @ update.lora_A
            expected = changes.replaced.get(name, lambda old: old)(original) + delta
            np.testing.assert_allclose(matrix.unpack(), expected, rtol=2**-8)
            quantized.discard(name)
        elif name in base.weights:
            assert matrix is base.weights[name]
    assert quantized, "no weight of the model was shared"
    assert not np.allclose(native_logits(native), base.step([(base.new_sequence(), TOKENS)])[0], atol=0.1)


def test_an_adapter_that_the_engine_does_not_have_runs_in_torch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = placed(tiny_folder("llama"), "torch")
    save_random_adapter(reference, tmp_path / "a")
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=False)
    llm.distribute(engine="native", precision="32-true")
    llm.load_adapter(tmp_path / "a")
    assert llm._current is not None
    changes = llm._current.weight_changes()
    assert changes is not None
    cast("dict[str, Any]", changes.replaced)["transformer.h.0.absent"] = lambda old: old
    capsys.readouterr()
    for _ in range(2):
        answer = llm.generate("abc", top_k=1, max_new_tokens=9)
        assert answer == reference.generate("abc", top_k=1, max_new_tokens=9)
    assert capsys.readouterr().err.count("PyTorch generates with it.") == 1
    llm.set_adapter(None)
    assert isinstance(llm._current_generator(), NativeGenerator)


def test_an_adapter_folder_on_a_quantized_file_is_not_rounded_away(
    tmp_path: Path, smollm2_gguf: Path
) -> None:
    llm = LLM.load(smollm2_gguf, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", engine="torch", precision="32-true")
    save_random_adapter(llm, tmp_path / "a", targets=["model.layers.3.self_attn.q_proj"])
    merged = model_of(placed(tmp_path / "a", "native", precision=None))
    original = model_of(placed(smollm2_gguf, "native", precision=None))
    name = "transformer.h.3.attn.qkv.weight"
    for other, matrix in merged.weights.items():
        assert matrix.format is (Format.BF16 if other == name else original.weights[other].format)
    assert llm._current is not None
    update = llm._current.weight_changes()
    assert update is not None
    low_rank = update.low_rank["transformer.h.3.attn.qkv"]
    base = llm.state_dict()[f"{name}"].numpy()
    expected = base + low_rank.lora_B @ low_rank.lora_A
    np.testing.assert_allclose(merged.weights[name].unpack(), expected, rtol=2**-8)
