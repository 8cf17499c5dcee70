"""Tests of whole models in each quantized format: every tensor, the logits, and the headers alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from litgpt import LLM
from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.adapters.hub.store import HubStore
from litgpt.application.describe_model import DescribeModel
from litgpt.domain.errors import CorruptFile
from litgpt.domain.families import resolve_model
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from tests.adapters.loopback_hub import LoopbackHub
from tests.adapters.quantized_folders import (
    BLOCK,
    CASES,
    EXPERTS,
    Case,
    gpt_oss_folder,
    headers_alone,
    quantized_folder,
)
from tests.adapters.tiny_models import tiny_folder, tiny_model
from tests.agreement.models import random_ids
from tests.contracts.model_store import ModelStoreContract


@pytest.fixture(params=[*CASES])
def case(request: Any) -> Case:
    return CASES[request.param]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "tiny"


def logits(folder: Path, ids: Tensor) -> Tensor:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    computed: Tensor = llm(ids)
    return computed


def agree(actual: Tensor, reference: Tensor) -> bool:
    return torch.allclose(actual, reference, rtol=0, atol=1e-4 * float(reference.abs().max()))


def test_every_tensor_is_dequantized(case: Case, folder: Path) -> None:
    expected = quantized_folder(folder, case)
    opened = open_hf_folder(folder, "tiny")
    assert set(opened.tensors) == set(expected)
    for name, tensor in expected.items():
        assert opened.tensors[name].shape == tuple(tensor.shape), name
        assert torch.equal(opened.read(name, "float32"), tensor), name
        assert torch.equal(opened.read(name, "bfloat16"), tensor.bfloat16()), name


@torch.inference_mode()
def test_the_logits_are_those_of_the_dequantized_weights(case: Case, folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"), dtype=torch.float32)
    ids = random_ids(2, 20)
    unquantized = reference(ids).logits
    reference.load_state_dict(quantized_folder(folder, case))
    expected = reference(ids).logits
    assert agree(logits(folder, ids), expected)
    assert not agree(unquantized, expected), "the folder holds other weights than it was made of"


def test_headers_and_config_suffice_for_the_description(case: Case, folder: Path) -> None:
    quantized_folder(folder, case)
    here = open_hf_folder(folder, "tiny")
    everything = sum(here.tensors[name].nbytes for name in here.tensors)
    coming = headers_alone(folder)
    opened = open_hf_folder(folder, "tiny", pending=coming)
    assert opened.tensors == here.tensors
    assert resolve_model("tiny", opened.config, opened.tensors).sources
    assert "quantization_config" not in opened.config
    beginning, size = next(iter(coming.values()))
    left_out = 4 * 7 * 3 if "F8" in case.stored_as else 0  # the scales of inputs
    assert everything == size - len(beginning) - left_out


def test_a_hub_model_is_described_before_its_download(tmp_path: Path) -> None:
    expected = quantized_folder(tmp_path / "hub" / "org" / "tiny", CASES["nf4, twice"])
    reference = ModelReference("org/tiny")
    with LoopbackHub(tmp_path / "hub") as hub:
        store: HubStore[Tensor] = HubStore(
            open_hf_folder, endpoint=hub.endpoint, cache_dir=tmp_path / "cache"
        )
        description = DescribeModel(store)(reference)
        assert {entry.format for entry in description.storage} == {"F32", "NF4"}
        assert "NF4" in description.notes[0]
        checkpoint = store.open(reference)
        assert not list((tmp_path / "cache").rglob("*.safetensors"))
        checkpoint.fetch(null_reporter)
    for name, tensor in expected.items():
        assert torch.equal(checkpoint.read(name, "float32"), tensor), name


def test_parts_of_a_weight_may_lie_in_different_files(folder: Path) -> None:
    expected = quantized_folder(folder, CASES["gptq, rows in another order"])
    stored = _stored(folder)
    (folder / "model.safetensors").unlink()
    places = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(stored)}
    for place in set(places.values()):
        save_file({name: value for name, value in stored.items() if places[name] == place}, folder / place)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    opened = open_hf_folder(folder, "tiny")
    for name, tensor in expected.items():
        assert torch.equal(opened.read(name, "float32"), tensor), name


def test_saved_it_is_a_model_in_full(folder: Path, tmp_path: Path) -> None:
    expected = quantized_folder(folder, CASES["fp4"])
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    llm.save(tmp_path / "saved")
    assert "quantization_config" not in json.loads((tmp_path / "saved" / "config.json").read_text())
    saved = open_hf_folder(tmp_path / "saved", "saved")
    assert saved.notes == ()
    for name, tensor in expected.items():
        assert torch.equal(saved.read(name), tensor), name


def test_stored_formats_are_reported(case: Case, folder: Path) -> None:
    quantized_folder(folder, case)
    description = DescribeModel(LocalStore(folder.parent))(ModelReference("tiny"))
    assert {entry.format: entry.num_tensors for entry in description.storage} == {
        case.stored_as: 3 * 7,
        "F32": 3 * 2 + 3,
    }
    assert len(description.notes) == 1
    assert case.note in description.notes[0]
    assert "dequantizes" in description.notes[0]


def test_loading_notes_the_quantization(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quantized_folder(folder, CASES["awq"])
    LLM.load(folder, distribute=None).distribute(accelerator="cpu")
    assert "quantized by AWQ to 4 bits" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["fp8 in blocks", "fp8, one scale"])
def test_transformers_reads_the_same_out_of_fp8(name: str, folder: Path) -> None:
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    quantized_folder(folder, CASES[name])
    opened, stored = open_hf_folder(folder, "tiny"), _stored(folder)
    compared = 0
    for tensor in opened.tensors:
        if f"{tensor}_scale_inv" not in stored:
            continue
        scales, (rows, columns) = stored[f"{tensor}_scale_inv"], opened.tensors[tensor].shape
        if scales.ndim:  # transformers takes whole blocks alone
            rows, columns = rows // BLOCK * BLOCK, columns // BLOCK * BLOCK
            scales = scales[: rows // BLOCK, : columns // BLOCK]
        if rows:
            part = stored[tensor][:rows, :columns]
            reference = Fp8Dequantize(None)._dequantize_one(part, scales, torch.float32)
            assert torch.equal(opened.read(tensor, "float32")[:rows, :columns], reference)
            compared += 1
    assert compared == 3 * (5 if scales.ndim else 7)


def _stored(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


class TestGptOss:
    """Experts in MXFP4."""

    def test_every_tensor_is_dequantized(self, folder: Path) -> None:
        expected = gpt_oss_folder(folder)
        opened = open_hf_folder(folder, "tiny")
        assert set(opened.tensors) == set(expected)
        for name, tensor in expected.items():
            assert opened.tensors[name].shape == tuple(tensor.shape), name
            assert torch.equal(opened.read(name, "float32"), tensor), name
        kinds = {
            tensor.storage_format
            for name, tensor in opened.tensors.items()
            if name.endswith("experts.down_proj")
        }
        assert kinds == {"MXFP4"}

    def test_transformers_reads_the_same_out_of_the_blocks(self, folder: Path) -> None:
        from transformers.integrations.mxfp4 import convert_moe_packed_tensors

        gpt_oss_folder(folder)
        opened, stored = open_hf_folder(folder, "tiny"), _stored(folder)
        packed = [name for name in opened.tensors if f"{name}_blocks" in stored]
        assert len(packed) == 3 * 2
        for name in packed:
            blocks, scales = stored[f"{name}_blocks"], stored[f"{name}_scales"]
            assert torch.equal(
                opened.read(name, "bfloat16"),
                convert_moe_packed_tensors(blocks, scales, dtype=torch.bfloat16),
            )

    @torch.inference_mode()
    def test_the_logits_are_those_of_the_dequantized_weights(self, folder: Path) -> None:
        reference = tiny_model("gpt_oss", **EXPERTS)
        reference.set_attn_implementation("eager")
        reference.load_state_dict(gpt_oss_folder(folder))
        ids = random_ids(2, 20)
        assert agree(logits(folder, ids), reference(ids).logits)


@pytest.mark.parametrize("name", ["awq", "fp8 in blocks", "nf4, twice"])
class TestQuantizedFolder(ModelStoreContract):
    """Contract tests of the port ModelStore."""

    @pytest.fixture
    def store(self, name: str, folder: Path) -> LocalStore:
        quantized_folder(folder, CASES[name])
        return LocalStore(folder.parent)


def test_closing_closes_the_wrapped_checkpoint(folder: Path) -> None:
    quantized_folder(folder, CASES["gptq"])
    opened: Checkpoint[Tensor] = open_hf_folder(folder, "tiny")
    name = next(tensor for tensor in opened.tensors if tensor.endswith("q_proj.weight"))
    tensor = opened.read(name)
    opened.close()
    assert torch.equal(opened.read(name), tensor)


def test_an_absent_tensor_of_a_packed_index_is_an_error_only_if_needed(case: Case, tmp_path: Path) -> None:
    expected = quantized_folder(tmp_path, case)
    shard, index = tmp_path / "model-1.safetensors", tmp_path / "model.safetensors.index.json"
    (tmp_path / "model.safetensors").rename(shard)
    names = [*load_file(shard)]

    def promise(*extra: str) -> None:
        index.write_text(json.dumps({"weight_map": dict.fromkeys([*names, *extra], shard.name)}))

    promise("mtp.layers.0.mlp.down_proj.weight", "mtp.layers.0.mlp.down_proj.weight_scale")
    assert open_hf_folder(tmp_path, "tiny").tensors.keys() == expected.keys()
    promise("model.layers.0.self_attn.q_proj.another")
    with pytest.raises(
        CorruptFile, match=r"does not contain the tensor 'model\.layers\.0\.self_attn\.q_proj\.another'"
    ):
        open_hf_folder(tmp_path, "tiny")
