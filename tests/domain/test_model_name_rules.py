"""Tests of the prompt style by model name: the last resort, and never for a base model."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import combinations

import pytest

from litgpt.domain.catalogue import search
from litgpt.domain.chat.styles import choose_style
from litgpt.domain.chat.styles.model_name_rules import STYLE_BY_MODEL_NAME, style_for_model

STYLES = {
    "stabilityai/stablelm-tuned-alpha-3b": "stablelm-alpha",
    "stabilityai/stablelm-zephyr-3b": "stablelm-zephyr",
    "stabilityai/stablecode-instruct-alpha-3b": "stablecode",
    "stabilityai/FreeWilly2": "freewilly2",
    "stabilityai/StableBeluga2": "freewilly2",
    "tiiuae/falcon-7b-instruct": "falcon",
    "tiiuae/Falcon3-1B-Instruct": "falcon3",
    "meta-llama/Llama-2-7b-chat-hf": "llama2",
    "Trelis/Llama-2-7b-chat-hf-function-calling-v2": "llama2-function-calling",
    "meta-llama/Meta-Llama-3-8B-Instruct": "llama3",
    "meta-llama/Llama-3.2-1B-Instruct": "llama3",
    "nvidia/Llama-3.1-Nemotron-70B-Instruct-HF": "llama3",
    "codellama/CodeLlama-7b-Instruct-hf": "codellama",
    "codellama/CodeLlama-34b-Instruct-hf": "codellama",
    "mistralai/Mistral-7B-Instruct-v0.1": "codellama",
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "codellama",
    "garage-bAInd/Platypus2-7B": "platypus",
    "garage-bAInd/Camel-Platypus2-13B": "platypus",
    "microsoft/phi-1_5": "phi-1",
    "my/phi-1.5": "phi-1",
    "microsoft/phi-2": "phi-2",
    "microsoft/Phi-3-mini-4k-instruct": "phi-3",
    "microsoft/Phi-3.5-mini-instruct": "phi-3",
    "microsoft/phi-4": "phi-4",
    "microsoft/Phi-4-reasoning": "phi-4-reasoning",
    "microsoft/Phi-4-reasoning-plus": "phi-4-reasoning",
    "microsoft/Phi-4-mini-instruct": "phi-4-mini",
    "microsoft/Phi-4-mini-reasoning": "phi-4-mini-reasoning",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": "tinyllama",
    "tiny-llama-1.1b-chat": "tinyllama",
    "google/gemma-2b-it": "gemma",
    "google/gemma-1.1-2b-it": "gemma",
    "google/gemma-2-9b-it": "gemma",
    "google/gemma-3-1b-it": "gemma",
    "google/codegemma-7b-it": "gemma",
    "allenai/OLMo-7B-Instruct-hf": "olmo",
    "allenai/OLMo-7B-SFT-hf": "olmo",
    "allenai/OLMo-2-1124-7B-SFT": "olmo",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": "r1-base",
    "R1-Distill-Qwen-7B": "r1-base",
    "Qwen/Qwen2.5-0.5B-Instruct": "qwen2.5",
    "Qwen/Qwen2.5-Coder-7B-Instruct": "qwen2.5",
    "Qwen/Qwen2.5-Math-7B-Instruct": "qwen2.5-math",
    "Qwen/QwQ-32B": "qwq",
    "Qwen/Qwen3-0.6B": "qwen3",
    "Qwen/Qwen3-30B-A3B": "qwen3",
    "Qwen/Qwen3-4B-Instruct-2507": "qwen3",
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": "qwen3",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "smollm2",
    "BSC-LT/salamandra-2b-instruct": "salamandra",
}
BASE_MODELS = (
    "EleutherAI/pythia-160m",
    "stabilityai/stablelm-base-alpha-3b",
    "stabilityai/stablelm-3b-4e1t",
    "stabilityai/stablecode-completion-alpha-3b",
    "tiiuae/falcon-7b",
    "tiiuae/Falcon3-1B-Base",
    "meta-llama/Llama-2-7b-hf",
    "meta-llama/Meta-Llama-3-8B",
    "meta-llama/Llama-3.2-1B",
    "codellama/CodeLlama-7b-hf",
    "codellama/CodeLlama-7b-Python-hf",
    "mistralai/Mistral-7B-v0.1",
    "mistralai/Mixtral-8x7B-v0.1",
    "microsoft/phi-1",
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T",
    "google/gemma-2b",
    "google/gemma-2-9b",
    "google/gemma-3-1b-pt",
    "google/codegemma-2b",
    "allenai/OLMo-1B-hf",
    "allenai/OLMo-2-1124-7B",
    "Qwen/Qwen2.5-0.5B",
    "Qwen/Qwen2.5-Math-7B",
    "Qwen/Qwen3-0.6B-Base",
    "Qwen/Qwen3-30B-A3B-Base",
    "Qwen/Qwen3-Embedding-0.6B",
    "HuggingFaceTB/SmolLM2-135M",
    "BSC-LT/salamandra-2b",
)
OTHER_CHAT_MODELS = (
    "allenai/Olmo-3-7B-Instruct",
    "codellama/CodeLlama-70b-Instruct-hf",
    "google/gemma-4-E2B-it",
    "google/gemma-3n-E2B-it",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct",
    "microsoft/Phi-3.5-MoE-instruct",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "tiiuae/falcon-180B-chat",
)

BASE_MARKS = ("-base", "-pt", "pythia", "-python-hf", "-completion", "-intermediate")


def names() -> Iterator[str]:
    """Yield every model name in this file and in the catalogue."""
    yield from STYLES
    yield from BASE_MODELS
    yield from OTHER_CHAT_MODELS
    for entry in search():
        yield entry.name
        yield entry.repository


def fitting(name: str) -> list[str]:
    last = name.rpartition("/")[2].casefold()
    return [pattern for pattern in STYLE_BY_MODEL_NAME if fnmatchcase(last, pattern)]


@pytest.mark.parametrize(("name", "style"), STYLES.items())
def test_a_chat_model_gets_its_training_prompt_style(name: str, style: str) -> None:
    actual = choose_style(None, has_chat_template=False, name=name)
    assert actual is not None
    assert actual.name == style
    assert choose_style(None, has_chat_template=True, name=name) is None


@pytest.mark.parametrize("name", OTHER_CHAT_MODELS)
def test_a_model_with_its_own_style_does_not_get_a_related_models(name: str) -> None:
    assert style_for_model(name) is None


@pytest.mark.parametrize("name", BASE_MODELS)
def test_a_base_model_gets_no_style(name: str) -> None:
    actual = choose_style(None, has_chat_template=False, name=name)
    assert actual is not None
    assert actual.name == "default"


def test_no_known_name_of_a_model_that_continues_text_gets_a_style() -> None:
    wrong = {
        name
        for name in names()
        if style_for_model(name) and any(mark in name.casefold() for mark in BASE_MARKS)
    }
    assert wrong == set()


def test_both_names_of_a_known_model_have_the_same_style() -> None:
    different = [
        entry for entry in search() if style_for_model(entry.name) is not style_for_model(entry.repository)
    ]
    assert different == []


def test_every_pattern_fits_a_name_and_is_written_in_small_letters() -> None:
    fitted = {pattern for name in names() for pattern in fitting(name)}
    assert set(STYLE_BY_MODEL_NAME) - fitted == set()
    assert all(pattern == pattern.casefold() for pattern in STYLE_BY_MODEL_NAME)


def test_where_two_patterns_fit_one_name_the_longer_is_the_narrower() -> None:
    """Every name that matches the narrower one matches the other too."""
    overlaps = {pair for name in names() for pair in combinations(sorted(fitting(name), key=len), 2)}
    for wide, narrow in overlaps:
        assert STYLE_BY_MODEL_NAME[wide] is STYLE_BY_MODEL_NAME[narrow] or len(wide) < len(narrow)
        only_narrow = [name for name in names() if narrow in fitting(name) and wide not in fitting(name)]
        assert STYLE_BY_MODEL_NAME[wide] is STYLE_BY_MODEL_NAME[narrow] or only_narrow == []


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/microsoft/phi-2",
        "C:\\models\\phi-2",
        "PHI-2/",
        "phi-2.Q4_K_M.gguf",
        "phi-2-bf16.gguf",
        "phi-2.gguf",
    ],
)
def test_only_the_last_part_of_a_name_counts_in_any_case(name: str) -> None:
    actual = style_for_model(name)
    assert actual is not None
    assert actual.name == "phi-2"


@pytest.mark.parametrize("name", ["", "/", "phi-2/checkpoint-500", "my-phi-2"])
def test_an_uninformative_name_has_no_style(name: str) -> None:
    assert style_for_model(name) is None
