"""Vocabulary files older than `tokenizer.json`: `vocab.json` with `merges.txt`, and `vocab.txt`.

The tokenizer class determines their pre-tokenizer. Source: GPT2Tokenizer, CodeGenTokenizer, GPTNeoXTokenizer,
Qwen2Tokenizer, Qwen3_5Tokenizer and BertTokenizer of transformers 5.24.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, normalizers, processors
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE, WordPiece

from litgpt.adapters.tokenization.pre_tokenizers import QWEN2, QWEN35, PreTokenizer
from litgpt.adapters.tokenization.tokenizer_config import TokenizerConfig
from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.validation.untrusted_files import translate_read_errors

_PRE_TOKENIZERS: Mapping[
    str, PreTokenizer | None
] = {  # None: GPT-2's pre-tokenizer, which is built into the library
    "GPT2Tokenizer": None,
    "CodeGenTokenizer": None,
    "GPTNeoXTokenizer": None,
    "Qwen2Tokenizer": QWEN2,
    "Qwen3_5Tokenizer": QWEN35,
}
_REMEDY = (
    "Pass a tokenizer_dir with a tokenizer.json, which transformers writes with "
    "AutoTokenizer.from_pretrained(…).save_pretrained(…)."
)
_NFC_CLASSES = frozenset({"GPTNeoXTokenizer", "Qwen2Tokenizer", "Qwen3_5Tokenizer"})


def open_vocab_files(name: str, paths: Mapping[str, Path], config: TokenizerConfig) -> Tokenizer | None:
    """Return the tokenizer of older vocabulary files; None without them, or with files of other backends."""
    from litgpt.adapters.tokenization.backends.tiktoken_files import is_tiktoken, open_tekken, open_tiktoken

    if "tokenizer.json" in paths or (
        "tokenizer.model" in paths and not is_tiktoken(paths["tokenizer.model"])
    ):
        return None
    if ranks := paths.get("tokenizer.model", paths.get("tiktoken.model")):
        return open_tiktoken(ranks, config)
    if "tekken.json" in paths:
        return open_tekken(paths["tekken.json"])
    if {"vocab.json", "merges.txt"} <= paths.keys():
        return open_bpe(name, paths["vocab.json"], paths["merges.txt"], config)
    if "vocab.txt" in paths:
        return open_wordpiece(name, paths["vocab.txt"], config)
    if file := next((file for file in paths if file.endswith(".tiktoken")), None):
        raise UnsupportedModel(
            name,
            f"the pre-tokenizer and special tokens of {file} are defined by Python code in the repository, "
            f"which is not run. {_REMEDY}",
        )
    return None


def open_bpe(name: str, vocab: Path, merges: Path, config: TokenizerConfig) -> Tokenizer:
    """Return the tokenizer of a `vocab.json` and a `merges.txt`."""
    if config.tokenizer_class is None or config.tokenizer_class not in _PRE_TOKENIZERS:
        raise _unknown_class(name, config, "vocab.json and merges.txt", _PRE_TOKENIZERS)
    with translate_read_errors(merges), translate_read_errors(vocab, reason="it does not fit merges.txt"):
        ids, pairs = BPE.read_file(str(vocab), str(merges))
        library = Tokenizer(BPE(ids, pairs, continuing_subword_prefix="", end_of_word_suffix=""))
    split, space = _PRE_TOKENIZERS[config.tokenizer_class], config.settings.get("add_prefix_space") is True
    if split is None:
        library.pre_tokenizer = pre.ByteLevel(add_prefix_space=space)
    else:
        words = [pre.Split(Regex(pattern), behavior="isolated") for pattern in split.patterns]
        library.pre_tokenizer = pre.Sequence([*words, pre.ByteLevel(add_prefix_space=space, use_regex=False)])
    if config.tokenizer_class in _NFC_CLASSES:
        library.normalizer = normalizers.NFC()
    library.decoder = decoders.ByteLevel()
    return library


def open_wordpiece(name: str, vocab: Path, config: TokenizerConfig) -> Tokenizer:
    """Return the tokenizer of a `vocab.txt` (BERT's WordPiece): one token per line, in the order of ids."""
    if config.tokenizer_class != "BertTokenizer":
        raise _unknown_class(name, config, "vocab.txt", ("BertTokenizer",))
    named = config.special_tokens
    with translate_read_errors(vocab, reason="it is not BERT's vocabulary"):
        library = Tokenizer(WordPiece(WordPiece.read_file(str(vocab)), unk_token=named["unk_token"]))
        ids = {token: library.token_to_id(token) for token in (named["cls_token"], named["sep_token"])}
    if None in ids.values():
        raise CorruptFile(str(vocab), f"it lacks one of {' and '.join(ids)}.")
    accents = config.settings.get("strip_accents")
    library.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.settings.get("tokenize_chinese_chars") is not False,
        strip_accents=accents if isinstance(accents, bool) else None,
        lowercase=config.settings.get("do_lower_case") is not False,
    )
    library.pre_tokenizer = pre.BertPreTokenizer()
    library.decoder = decoders.WordPiece(prefix="##")
    library.post_processor = processors.TemplateProcessing(
        single=f"{named['cls_token']} $A {named['sep_token']}", special_tokens=list(ids.items())
    )
    return library


def _unknown_class(name: str, config: TokenizerConfig, files: str, known: Iterable[str]) -> UnsupportedModel:
    names = " or ".join(known)
    actual = config.tokenizer_class or "not specified"
    return UnsupportedModel(
        name,
        f"{files} can be read only for the tokenizer class {names}, but the class in tokenizer_config.json "
        f"or config.json is {actual}. {_REMEDY}",
    )
