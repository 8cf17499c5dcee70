"""The rules by which GGUF vocabularies split text, against those that transformers knows."""

from collections.abc import Mapping
from typing import Any

import pytest
from tokenizers import Regex, pre_tokenizers

from litgpt.adapters.text.splitting import SPLITS

TEXT = (
    "I'll say: HelloWorld'S iPhone XIIIth 12345 3.14159 \t\n\n  fn main() {\r\n    x²½٣4 += 1_000; }\n"
    "日本語カタカナ 漢字123 Ünïcödé e\u0301té ひらがな。 हिन्दी؟ "
    "'RE we'Ve /path//to\n/x ... !word (a|b) ⅣI \u3000 end   "
)


def words(name: str) -> list[str]:
    steps: list[Any] = [
        pre_tokenizers.Split(Regex(one), behavior="isolated") for one in SPLITS[name].patterns
    ]
    return spelled([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def spelled(steps: list[Any]) -> list[str]:
    return [TEXT[start:stop] for _, (start, stop) in pre_tokenizers.Sequence(steps).pre_tokenize_str(TEXT)]


def theirs() -> Mapping[str, str]:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    found: dict[str, str] = GGUF_PRE_TOKENIZER_SPLITS
    return found


@pytest.mark.parametrize("name", sorted(set(SPLITS) & set(theirs())))
def test_text_is_split_as_transformers_splits_it_for_a_vocabulary_of_this_name(name: str) -> None:
    steps: list[Any] = [
        pre_tokenizers.Split(Regex(theirs()[name]), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    assert words(name) == spelled(steps)


BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
DIGITS = pre_tokenizers.Digits(individual_digits=True)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("gpt-2", [BYTES]),
        ("phi-2", [BYTES]),
        ("olmo", [BYTES]),
        ("mpt", [BYTES]),
        ("starcoder", [DIGITS, BYTES]),
        ("refact", [DIGITS, BYTES]),
        ("command-r", [DIGITS, BYTES]),
    ],
)
def test_text_is_split_as_the_steps_of_the_models_own_tokenizer_split_it(name: str, steps: list[Any]) -> None:
    assert words(name) == spelled(steps)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("olmo", "gpt_neox.tokenization_gpt_neox.GPTNeoXTokenizer"),
        ("command-r", "cohere.tokenization_cohere.CohereTokenizer"),
        ("qwen2", "qwen2.tokenization_qwen2.Qwen2Tokenizer"),
        ("qwen35", "qwen3_5.tokenization_qwen3_5.Qwen3_5Tokenizer"),
        ("gpt-2", "gpt2.tokenization_gpt2.GPT2Tokenizer"),
    ],
)
def test_text_is_composed_where_transformers_tokenizer_of_the_family_composes_it(
    name: str, kind: str
) -> None:
    from importlib import import_module

    module, _, called = kind.rpartition(".")
    own = getattr(import_module(f"transformers.models.{module}"), called)().backend_tokenizer
    assert SPLITS[name].composed is (own.normalizer is not None)
    composed = TEXT if own.normalizer is None else own.normalizer.normalize_str(TEXT)
    steps: list[Any] = [
        pre_tokenizers.Split(Regex(one), behavior="isolated") for one in SPLITS[name].patterns
    ]
    ours = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(False, use_regex=False)])
    assert ours.pre_tokenize_str(composed) == own.pre_tokenizer.pre_tokenize_str(composed)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("deepseek-v3", "a 12345日本x!yes", ["a", " ", "123", "45", "日本", "x", "!yes"]),
        ("hunyuan-dense", "e\u0301a+=\n\nb", ["e\u0301a", "+=\n\n", "b"]),
        ("glm4", "it'S 12345 ok", ["it", "'S", " ", "123", "45", " ok"]),
        ("seed-coder", "a 12 ..\nb", ["a", " ", "1", "2", " ..", "\n", "b"]),
        ("bloom", "so, so 12", ["so", ",", " so", " 12"]),
    ],
)
def test_what_no_library_at_hand_knows_is_split_by_what_its_rule_says(
    name: str, text: str, expected: list[str]
) -> None:
    found = [text]
    for pattern in SPLITS[name].patterns:
        step = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        found = [one for word in found for one, _ in step.pre_tokenize_str(word)]
    assert found == expected
