"""Tests of GGUF pre-tokenizers, against those of transformers."""

from collections.abc import Mapping
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers

from litgpt.adapters.tokenization.export import export_tokenizer
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.adapters.tokenization.pre_tokenizers import PRE_TOKENIZERS
from litgpt.domain.tokenizer_source import GgufVocabulary

TEXT = (
    "I'll say: HelloWorld'S iPhone XIIIth 12345 3.14159 \t\n\n  fn main() {\r\n    x²½٣4 += 1_000; }\n"
    "日本語カタカナ 漢字123 Ünïcödé e\u0301té ひらがな。 हिन्दी؟ "
    "'RE we'Ve /path//to\n/x ... !word (a|b) ⅣI \u3000 end   "
)


def words(name: str) -> list[str]:
    steps: list[Any] = [
        pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in PRE_TOKENIZERS[name].patterns
    ]
    return spelled([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def spelled(steps: list[Any]) -> list[str]:
    return [TEXT[start:stop] for _, (start, stop) in pre_tokenizers.Sequence(steps).pre_tokenize_str(TEXT)]


def reference() -> Mapping[str, str]:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    splits: dict[str, str] = GGUF_PRE_TOKENIZER_SPLITS
    return splits


@pytest.mark.parametrize("name", sorted(set(PRE_TOKENIZERS) & set(reference())))
def test_text_is_split_as_transformers_splits_it_for_a_vocabulary_of_this_name(name: str) -> None:
    steps: list[Any] = [
        pre_tokenizers.Split(Regex(reference()[name]), behavior="isolated"),
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
    assert PRE_TOKENIZERS[name].normalize_nfc is (own.normalizer is not None)
    composed = TEXT if own.normalizer is None else own.normalizer.normalize_str(TEXT)
    steps: list[Any] = [
        pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in PRE_TOKENIZERS[name].patterns
    ]
    actual = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(False, use_regex=False)])
    assert actual.pre_tokenize_str(composed) == own.pre_tokenizer.pre_tokenize_str(composed)


PIECES = ("\u2581the", "\u2581t", "he", "\u2581th", "\u2581\u2581", "\n\n", "an", "\u2581an")
MERGES = ("\u2581 t", "h e", "\u2581t he", "\u2581t h", "\u2581 \u2581", "\n \n", "a n", "\u2581 an")


def gemma4() -> GgufVocabulary:
    """Return a small vocabulary in Gemma 4's GGUF form: UTF-8 tokens, and one token per byte."""
    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>")
    letters = sorted(set("then a\n.").difference(" ") | {"\u2581"})
    tokens = (*special, *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *PIECES)
    types = (3, 3, 3, 2, 3, 4, *[6] * 256, *[1] * (len(letters) + len(PIECES)))
    return GgufVocabulary(
        kind="bpe",
        tokens=tokens,
        types=types,
        merges=MERGES,
        pre="gemma4",
        bos_id=2,
        eos_ids=(1,),
        unk_id=3,
        add_bos=True,
    )


GEMMA4_TEXT = "the  the then an ant\n\nhe<|turn>n\u00e9 \u65e5 \u2581."


def test_a_gemma_4_vocabulary_encodes_as_in_transformers() -> None:
    from transformers import GemmaTokenizer

    vocabulary = gemma4()
    ids = {token: place for place, token in enumerate(vocabulary.tokens)}
    pairs: list[Any] = [tuple(merge.split(" ")) for merge in MERGES]
    own = GemmaTokenizer(vocab=ids, merges=pairs)
    own.add_tokens(["<|turn>"])
    tokenizer = open_tokenizer(vocabulary, name="gemma4", vocab_size=len(vocabulary.tokens))
    expected = own.backend_tokenizer.encode(GEMMA4_TEXT, add_special_tokens=False).ids
    assert tokenizer.encode(GEMMA4_TEXT) == [2, *expected]
    # The letter that stands for a space is indistinguishable from a space.
    assert tokenizer.decode(expected) == own.decode(expected) == GEMMA4_TEXT.replace("\u2581", " ")


def test_a_vocabulary_of_gemma_4_is_saved_as_a_file_that_gives_the_same() -> None:
    vocabulary = gemma4()
    saved = Tokenizer.from_buffer(export_tokenizer(vocabulary, name="gemma4")["tokenizer.json"])
    tokenizer = open_tokenizer(vocabulary, name="gemma4", vocab_size=len(vocabulary.tokens))
    ids = saved.encode(GEMMA4_TEXT).ids
    assert ids == tokenizer.encode(GEMMA4_TEXT)
    assert saved.decode(ids) == tokenizer.decode(ids)


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
def test_pretokenizers_unknown_to_transformers_split_by_their_rule(
    name: str, text: str, expected: list[str]
) -> None:
    words = [text]
    for pattern in PRE_TOKENIZERS[name].patterns:
        step = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        words = [value for word in words for value, _ in step.pre_tokenize_str(word)]
    assert words == expected
