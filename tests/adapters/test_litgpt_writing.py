"""What we write as LitGPT's folder is what LitGPT would have written, or is refused before anything is."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
import yaml
from torch import Tensor

from litgpt.adapters.checkpoints.litgpt_dialect import to_config
from litgpt.adapters.checkpoints.litgpt_folder import open_litgpt_folder
from litgpt.adapters.checkpoints.litgpt_writing import LitGptWriter, litgpt_settings_of, write_litgpt
from litgpt.adapters.pytorch.weights import ModelWeights
from litgpt.domain.architecture import Architecture, Attention, LongRopeScaling
from litgpt.domain.errors import CheckpointMismatch, OutOfReach, UnsupportedModel
from litgpt.domain.families import describe, family_of
from litgpt.domain.ports import ModelToWrite
from litgpt.domain.reporting import silent
from litgpt.domain.tensors import TensorInfo
from litgpt.domain.weights import plan
from tests.adapters.litgpt_variants import READABLE, WRITABLE, LitGptVariant, built
from tests.adapters.litgpt_writer import SETTINGS, settings_of
from tests.adapters.tiny_models import tiny_model

VARIANTS = {variant.name: variant for variant in WRITABLE}

# Settings that LitGPT has two words for, or that mean nothing to some families.
EQUIVALENT = {
    "intermediate_size",
    "sliding_window_indices",
    "hf_config",
    "vocab_size",
    "moe_intermediate_size",
    "gelu_approximate",
    "norm_topk_prob",
    "rope_condense_ratio",
    "rope_adjustments",
    "attention_scores_scalar",
    "head_size",
}


def of(family: str, **settings: Any) -> Architecture:
    return describe("tiny", tiny_model(family, **settings).config.to_dict())


def tensors_of(folder: Path) -> tuple[Architecture, dict[str, Tensor]]:
    """Return the structure and our tensors of what a folder holds."""
    model = built(open_litgpt_folder(folder, "tiny"))
    state = model.state_dict()
    if model.architecture.tied:
        state.pop("lm_head.weight", None)
    return model.architecture, state


def meant(settings: dict[str, Any]) -> Architecture:
    """Return the structure that settings describe."""
    return describe("tiny", to_config("yaml", settings, bare_norms="OLMo" in settings["name"]))


@pytest.fixture
def llama() -> tuple[Architecture, dict[str, Tensor]]:
    return tensors_of(VARIANTS["llama"].written().folder)


@pytest.mark.parametrize("variant", WRITABLE, ids=lambda variant: variant.name)
def test_a_litgpt_folder_that_is_read_and_written_is_the_same(variant: LitGptVariant, tmp_path: Path) -> None:
    written = variant.written().folder
    architecture, tensors = tensors_of(written)
    settings = settings_of(variant.family, **variant.changed)
    write_litgpt(tmp_path / "to", name=settings["name"], architecture=architecture, tensors=tensors.items())

    old, new = (torch.load(one / "lit_model.pth") for one in (written, tmp_path / "to"))
    assert set(new) == set(old)
    for name, tensor in old.items():
        assert torch.equal(new[name], tensor), name
    said = yaml.safe_load((tmp_path / "to" / "model_config.yaml").read_text())
    assert set(said) == set(SETTINGS)
    assert {name: said[name] for name in said.keys() - EQUIVALENT} == {
        name: value for name, value in settings.items() if name not in EQUIVALENT
    }
    assert meant(said) == meant(settings)


def test_a_head_that_is_the_embedding_is_in_the_file_once(tmp_path: Path) -> None:
    architecture, tensors = tensors_of(VARIANTS["llama, tied"].written().folder)
    write_litgpt(tmp_path / "to", name="tiny", architecture=architecture, tensors=tensors.items())
    size = (tmp_path / "to" / "lit_model.pth").stat().st_size
    assert size < sum(tensor.nbytes for tensor in tensors.values()) + 20_000
    checkpoint = open_litgpt_folder(tmp_path / "to", "tiny")
    assert checkpoint.config["tie_word_embeddings"] is True


def test_a_view_of_a_large_file_is_written_alone(
    llama: tuple[Architecture, dict[str, Tensor]], tmp_path: Path
) -> None:
    architecture, tensors = llama
    large = torch.cat([tensor.flatten() for tensor in tensors.values()] + [torch.zeros(1_000_000)])
    views, reached = {}, 0
    for name, tensor in tensors.items():
        views[name] = large[reached : reached + tensor.numel()].view(tensor.shape).to(torch.float32)
        reached += tensor.numel()
    views["transformer.wte.weight"] = views["transformer.wte.weight"].bfloat16()[:].clone()[:]
    write_litgpt(tmp_path / "to", name="tiny", architecture=architecture, tensors=views.items())
    size = (tmp_path / "to" / "lit_model.pth").stat().st_size
    assert size < sum(tensor.nbytes for tensor in tensors.values()) + 30_000
    state = torch.load(tmp_path / "to" / "lit_model.pth")
    assert all(torch.equal(state[name], view) for name, view in views.items())
    assert state["transformer.wte.weight"].dtype == torch.bfloat16


NAMES = {
    ("gemma", "google/gemma-2b"): "google/Gemma-2b",
    ("gemma", "mine"): "mine-Gemma",
    ("gemma2", "CodeGemma"): "CodeGemma",
    ("llama", "not-a-Gemma"): "not-a-gemma",
    ("olmo", "olmo-1b"): "OLMo-1b",
    ("stablelm", "like-OLMo"): "like-olmo",
    ("olmo2", "OLMo-2"): "OLMo-2",
}


@pytest.mark.parametrize(("family", "name"), NAMES, ids=[name for _, name in NAMES])
def test_the_name_says_what_litgpt_asks_of_it(family: str, name: str) -> None:
    settings = litgpt_settings_of(of(family), name)
    assert settings["name"] == NAMES[family, name]
    assert settings["hf_config"] == {"name": NAMES[family, name], "org": ""}


@pytest.mark.parametrize("scalar", [20, 20.5, 144])
def test_a_scale_is_told_by_the_number_whose_root_it_divides_by(scalar: float) -> None:
    config = tiny_model("gemma2").config.to_dict() | {"query_pre_attn_scalar": scalar}
    settings = litgpt_settings_of(describe("tiny", config), "tiny")
    assert settings["attention_scores_scalar"] == pytest.approx(scalar, rel=1e-9)
    assert isinstance(settings["attention_scores_scalar"], type(scalar))


@pytest.mark.parametrize(("head", "share"), [(80, 0.4), (12, 0.5), (20, 0.3), (50, 0.28), (44, 30.5 / 44)])
def test_litgpt_makes_the_same_number_of_rotated_numbers_of_the_share(head: int, share: float) -> None:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": share}
    architecture = of("phi", head_dim=head, rope_parameters=rope)
    mixer = architecture.layers[0].mixer
    assert isinstance(mixer, Attention)
    assert mixer.rotary is not None
    settings = litgpt_settings_of(architecture, "tiny")
    percentage, size = settings["rotary_percentage"], settings["head_size"]
    assert isinstance(percentage, float)
    assert isinstance(size, int)
    assert int(percentage * size) == mixer.rotary.size


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "stretched by Yarn": ("deepseek_v3", READABLE[-1].settings),
    "activation is relu2": ("nemotron", {}),
    "no rotary positions": ("smollm3", {}),
    "embedding is multiplied by 3": ("granite", {}),
    "clip is 0.3": ("olmo", {"clip_qkv": 0.3}),
    "bias = true for queries, keys and values, true after attention": ("qwen3", {"attention_bias": True}),
    "different norms": ("stablelm", {"qk_layernorm": True}),
    "not divided by their sum": ("qwen3_moe", {"norm_topk_prob": False}),
    "without experts after layers with": ("qwen3_moe", {"norm_topk_prob": True, "mlp_only_layers": [2]}),
    "made from the stream itself": ("deepseek_v3", {"q_lora_rank": None}),
    "from 1 groups, by sigmoid": ("deepseek_v3", {"n_group": 1, "topk_group": 1}),
    "gated by GELU": ("llama", {"hidden_act": "gelu"}),
    "like no family that LitGPT has": ("starcoder2", {}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_litgpt_cannot_express_is_refused_by_name_before_anything_is_written(
    reason: str, tmp_path: Path
) -> None:
    family, settings = REFUSED[reason]
    with pytest.raises(UnsupportedModel, match=rf"tiny, written for LitGPT 0\.5\.13, cannot.*{reason}"):
        write_litgpt(tmp_path / "to", name="tiny", architecture=of(family, **settings), tensors=())
    assert not (tmp_path / "to").exists()


def test_layers_that_differ_in_what_litgpt_says_once_are_refused() -> None:
    one = of("llama")
    wider = of("llama", intermediate_size=96)
    mixed = attrs.evolve(one, layers=(one.layers[0], wider.layers[1], one.layers[2]))
    with pytest.raises(UnsupportedModel, match="its layers have different feed-forwards"):
        litgpt_settings_of(mixed, "tiny")


def test_a_logit_scale_that_a_family_of_litgpt_s_does_not_have_is_refused_all_the_same() -> None:
    with pytest.raises(UnsupportedModel, match=r"its logit_scale is 0\.5, and LitGPT's model_config\.yaml"):
        litgpt_settings_of(attrs.evolve(of("llama"), logit_scale=0.5), "tiny")


def test_longrope_is_refused() -> None:
    one = of("phi3")
    mixer = one.layers[0].mixer
    assert isinstance(mixer, Attention)
    assert mixer.rotary is not None
    longrope = LongRopeScaling(short=(1.0,) * 6, long=(2.0,) * 6, original_context=16)
    rotated = attrs.evolve(mixer, rotary=attrs.evolve(mixer.rotary, scaling=longrope))
    layers = tuple(attrs.evolve(layer, mixer=rotated) for layer in one.layers)
    with pytest.raises(UnsupportedModel, match="stretched by LongRope"):
        litgpt_settings_of(attrs.evolve(one, layers=layers), "tiny")


def test_tensors_that_are_not_the_architecture_s_are_named_and_nothing_is_written(
    llama: tuple[Architecture, dict[str, Tensor]], tmp_path: Path
) -> None:
    architecture, tensors = llama
    tensors["transformer.more"] = tensors.pop("transformer.ln_f.weight")
    tensors["lm_head.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointMismatch) as caught:
        write_litgpt(tmp_path / "to", name="tiny", architecture=architecture, tensors=tensors.items())
    assert list(caught.value.missing) == ["transformer.ln_f.weight"]
    assert list(caught.value.unread) == ["transformer.more"]
    assert list(caught.value.misshapen) == ["lm_head.weight is [3], expected [288, 48]"]
    assert not (tmp_path / "to").exists()


def test_a_folder_whose_safetensors_would_be_read_instead_is_left_as_it_is(
    llama: tuple[Architecture, dict[str, Tensor]], tmp_path: Path
) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "model.safetensors").touch()
    architecture, tensors = llama
    with pytest.raises(OutOfReach, match=r"model\.safetensors"):
        write_litgpt(tmp_path / "to", name="tiny", architecture=architecture, tensors=tensors.items())
    assert [one.name for one in (tmp_path / "to").iterdir()] == ["model.safetensors"]


def test_a_folder_that_cannot_be_made_is_told_so(
    llama: tuple[Architecture, dict[str, Tensor]], tmp_path: Path
) -> None:
    (tmp_path / "to").touch()
    architecture, tensors = llama
    with pytest.raises(OutOfReach, match="Choose a folder"):
        write_litgpt(tmp_path / "to", name="tiny", architecture=architecture, tensors=tensors.items())


def test_the_small_files_lie_beside_the_weights(tmp_path: Path) -> None:
    checkpoint = open_litgpt_folder(VARIANTS["llama"].written().folder, "tiny")
    model = built(checkpoint)
    rules = family_of("tiny", checkpoint.config).weights
    joins = plan("tiny", model.architecture, rules, checkpoint.tensors)
    to_write = ModelToWrite(
        name="tiny",
        architecture=model.architecture,
        config={**checkpoint.config, "eos_token_id": 7},
        generation_config={"eos_token_id": [7, 8]},
        prompt_style="Llama3",
        tokenizer={"tokenizer.json": b"{}", "config.json": b"not this one"},
        weights=ModelWeights.of(model, joins),
    )
    LitGptWriter()(tmp_path / "to", to_write, silent)
    again = open_litgpt_folder(tmp_path / "to", "tiny")
    assert again.prompt_style == "Llama3"
    assert again.generation_config == {"eos_token_id": [7, 8]}
    assert again.config["eos_token_id"] == 7
    assert (tmp_path / "to" / "tokenizer.json").read_bytes() == b"{}"
    assert not list((tmp_path / "to").glob(".saving-*"))
    LitGptWriter()(tmp_path / "to", attrs.evolve(to_write, prompt_style=None), silent)
    assert open_litgpt_folder(tmp_path / "to", "tiny").prompt_style is None


@attrs.frozen
class Vast:
    """Weights that no disk holds."""

    tensors = {"lm_head.weight": TensorInfo((10**9, 10**9), "F32", 4 * 10**18)}  # noqa: RUF012 - of no instance
    quantization = None
    notes = ()

    def read(self, name: str) -> Tensor:
        raise NotImplementedError(name)

    def parameters(self) -> list[tuple[str, Tensor]]:
        raise NotImplementedError


def test_more_than_the_disk_holds_is_refused_before_it_is_read(tmp_path: Path) -> None:
    model: ModelToWrite[Tensor] = ModelToWrite(
        name="vast",
        architecture=of("llama"),
        config={},
        generation_config={},
        prompt_style=None,
        tokenizer={},
        weights=Vast(),
    )
    with pytest.raises(OutOfReach, match="it takes 4000000000"):
        LitGptWriter()(tmp_path / "deep" / "to", model, silent)
    assert not (tmp_path / "deep").exists()
