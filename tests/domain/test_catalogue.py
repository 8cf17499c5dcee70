"""Tests of the catalogue: short names of well-known repositories, and model sizes."""

import subprocess
import sys
from pathlib import Path

import pytest

from litgpt.domain.catalogue import CatalogueEntry, find_entry, repository_for, search, suggest
from litgpt.domain.families import FAMILIES, parse_config
from litgpt.domain.families.multimodal import TEXT_MODEL_TYPES
from litgpt.domain.memory.estimate import parameter_count

LITGPT = Path(__file__).with_name("litgpt_names.txt").read_text(encoding="utf-8").split()
"""Every name that LitGPT 0.5.13 lists."""

PUBLISHED = {
    "Llama-2-7b-hf": 6_738_415_616,
    "Llama-2-70b-hf": 68_976_648_192,
    "Llama-3-8B": 8_030_261_248,
    "Llama-3.1-405B-Instruct": 405_853_388_800,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B-Instruct": 3_212_749_824,
    "SmolLM2-135M": 134_515_008,
    "tiny-llama-1.1b": 1_100_048_384,
    "Falcon3-7B-Base": 7_455_550_464,
    "salamandra-2b": 2_253_490_176,
    "Mistral-7B-v0.1": 7_241_732_096,
    "Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "Mistral-Nemo-Instruct-2407": 12_247_782_400,
    "Mixtral-8x7B-v0.1": 46_702_792_704,
    "Mixtral-8x22B-v0.1": 140_620_634_112,
    "Mixtral-8x22B-Instruct-v0.1": 140_630_071_296,
    "pythia-70m": 70_426_624,
    "pythia-160m": 162_322_944,
    "pythia-6.9b-deduped": 6_857_302_016,
    "pythia-12b": 11_846_072_320,
    "gpt-neox-20b": 20_554_567_680,
    "phi-1_5": 1_418_270_720,
    "phi-2": 2_779_683_840,
    "Phi-3-mini-4k-instruct": 3_821_079_552,
    "phi-4": 14_659_507_200,
    "Phi-4-mini-instruct": 3_836_021_760,
    "Gemma-2b": 2_506_172_416,
    "Gemma-7b-it": 8_537_680_896,
    "Gemma-2-2b": 2_614_341_888,
    "Gemma-2-9b-it": 9_241_705_984,
    "Gemma-2-27b": 27_227_128_320,
    "gemma-3-270m": 268_098_176,
    "Gemma-3-1b-it": 999_885_952,
    "Qwen2.5-0.5B": 494_032_768,
    "Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen2.5-72B": 72_706_203_648,
    "R1-Distill-Qwen-1.5B": 1_777_088_000,
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-8B": 8_190_735_360,
    "Qwen3-30B-A3B": 30_532_122_624,
    "Qwen3-235B-A22B": 235_093_634_560,
    "falcon-180B": 178_557_088_768,
    "stablelm-3b-4e1t": 2_795_443_200,
    "stablelm-2-1_6b": 1_644_515_328,
    "OLMo-1B-hf": 1_176_764_416,
    "OLMo-7B-hf": 6_888_095_744,
    "OLMo-2-1124-7B": 7_298_617_344,
    "DeepSeek-V3": 671_026_419_200,
    "DeepSeek-V2-Lite": 15_706_484_224,
    "gpt-oss-20b": 20_914_757_184,
    "gpt-oss-120b": 116_829_156_672,
    "Qwen1.5-MoE-A2.7B": 14_315_784_192,
    "SmolLM3-3B": 3_075_098_624,
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
    "starcoder2-3b": 3_030_371_328,
    "command-r-v01": 34_980_831_232,
    "ERNIE-4.5-0.3B": 360_748_032,
    "Seed-OSS-36B-Instruct": 36_151_104_512,
    "starcoderbase-1b": 1_137_207_296,
    "gpt-j-6b": 6_050_882_784,
    "opt-125m": 125_239_296,
    "bloom-560m": 559_214_592,
}
"""Parameters, a head that is the embedding counted once, as the models' cards or their files have it."""


def is_implemented(entry: CatalogueEntry | None) -> bool:
    return entry is not None and entry.config is not None and entry.family in FAMILIES


SIZED = [entry for entry in search() if entry.config is not None]
IMPLEMENTED = [entry for entry in SIZED if is_implemented(entry)]


def test_a_short_name_resolves_to_a_repository() -> None:
    assert repository_for("tiny-llama-1.1b") == "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T"


@pytest.mark.parametrize("name", ["Llama-3-8B", "llama-3-8b", "Meta-Llama-3-8B"])
def test_a_short_name_may_be_the_last_part_of_the_repository_in_any_case(name: str) -> None:
    assert repository_for(name) == "meta-llama/Meta-Llama-3-8B"


def test_an_unknown_name_has_no_repository() -> None:
    assert repository_for("llama-from-nowhere") is None


def test_entries_are_found_by_a_part_of_their_name_or_repository() -> None:
    assert [entry.name for entry in search("R1-distill-LLAMA")] == [
        "R1-Distill-Llama-8B",
        "R1-Distill-Llama-70B",
    ]
    assert "google/gemma-2-2b" in [entry.repository for entry in search("google/")]


def test_without_a_text_all_entries_are_known() -> None:
    assert len(search()) > 100


def test_a_misspelled_name_is_suggested() -> None:
    assert suggest("smollm2-135m-instuct")[0] == "SmolLM2-135M-Instruct"
    assert suggest("meta-lama/Llama-3.2-1B")[0] == "meta-llama/Llama-3.2-1B"
    assert suggest("something else entirely") == ()


def test_each_name_and_each_repository_is_listed_once_in_any_case() -> None:
    entries = search()
    assert len({entry.name.casefold() for entry in entries}) == len(entries)
    assert len({entry.repository.casefold() for entry in entries}) == len(entries)


def test_names_of_different_entries_do_not_overlap() -> None:
    assert {entry.name: repository_for(entry.name) for entry in search()} == {
        entry.name: entry.repository for entry in search()
    }


def test_every_repository_has_an_organisation_and_every_family_has_a_known_model() -> None:
    assert {entry.repository.count("/") for entry in search()} == {1}
    # These are found inside a model of text and more.
    parts = {*TEXT_MODEL_TYPES.values(), "ministral3", "mistral4"}
    parts.add("ministral")  # the known model has the older type, mistral
    assert set(FAMILIES) - parts <= {entry.family for entry in search()}


def test_every_name_of_an_entry_is_unique() -> None:
    for entry in search():
        for name in (
            entry.name,
            entry.repository,
            entry.repository.rpartition("/")[2],
            entry.former_repository,
        ):
            assert name is None or find_entry(name) is entry


def test_every_name_of_litgpt_is_known() -> None:
    assert len(LITGPT) == 210
    assert [name for name in LITGPT if find_entry(name) not in SIZED] == []  # and its numbers with it


@pytest.mark.parametrize(
    "name",
    ["pythia-160m", "Pythia-160M", "EleutherAI/pythia-160m", "eleutherai/PYTHIA-160m"],
)
def test_an_entry_is_found_by_its_short_name_or_its_repository_in_any_case(name: str) -> None:
    actual = find_entry(name)
    assert actual is not None
    assert (actual.name, actual.repository, actual.family) == (
        "pythia-160m",
        "EleutherAI/pythia-160m",
        "gpt_neox",
    )


def test_a_repository_that_has_moved_is_found_where_it_was_and_never_renamed() -> None:
    assert find_entry("meta-llama/Meta-Llama-3.1-8B") is find_entry("Llama-3.1-8B")
    assert find_entry("Meta-Llama-3.1-8B") is find_entry("Llama-3.1-8B")
    assert repository_for("meta-llama/Meta-Llama-3.1-8B") is None  # a cache may have it under this name


def test_an_unknown_name_has_no_entry() -> None:
    assert find_entry("nobody/pythia-160m") is None
    assert find_entry("pythia") is None


def test_models_of_one_size_differ_where_their_configs_do() -> None:
    base, tuned = find_entry("Qwen2.5-7B"), find_entry("Qwen2.5-7B-Instruct")
    assert base is not None
    assert tuned is not None
    assert base.config is not None
    assert tuned.config is not None
    assert base.config["max_position_embeddings"] == 131_072
    assert {**base.config, "max_position_embeddings": 32_768} == tuned.config


@pytest.mark.parametrize("entry", SIZED, ids=lambda entry: entry.name)
def test_a_config_is_of_the_entrys_family(entry: CatalogueEntry) -> None:
    assert entry.config is not None
    assert entry.config["model_type"] == entry.family


@pytest.mark.parametrize("entry", IMPLEMENTED, ids=lambda entry: entry.name)
def test_a_config_describes_an_architecture(entry: CatalogueEntry) -> None:
    assert entry.config is not None
    architecture = parse_config(entry.name, entry.config)
    assert architecture.context_length >= 512


@pytest.mark.parametrize("name", [name for name in PUBLISHED if is_implemented(find_entry(name))])
def test_parameter_counts_equal_the_published_ones(name: str) -> None:
    entry = find_entry(name)
    assert entry is not None
    assert entry.config is not None
    assert parameter_count(parse_config(name, entry.config)) == PUBLISHED[name]


def test_every_published_count_is_of_a_model_whose_numbers_are_known() -> None:
    entries = {name: find_entry(name) for name in PUBLISHED}
    assert [name for name, entry in entries.items() if entry is None or entry.config is None] == []


def test_the_list_is_read_when_it_is_first_needed() -> None:
    code = (
        "import litgpt.domain.catalogue as c; before = c._entries.cache_info().currsize;"
        "c.search(); print(before, c._entries.cache_info().currsize)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0", "1"]
