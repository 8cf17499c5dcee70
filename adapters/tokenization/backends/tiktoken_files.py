"""Rank-based vocabularies: tiktoken files and Mistral's `tekken.json`.

The adjacent pair that forms the token of the lowest rank is merged first, so the merges for the library
tokenizers are all pairs of tokens that form a token. Source: TikTokenConverter and MistralConverter of
transformers 5.24, and https://github.com/openai/tiktoken.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import Regex, Tokenizer, decoders, processors
from tokenizers import pre_tokenizers as pre
from tokenizers.models import BPE

from litgpt.adapters.tokenization.pre_tokenizers import CL100K
from litgpt.adapters.tokenization.token_bytes import byte_level_alphabet
from litgpt.adapters.tokenization.tokenizer_class import TEKKEN_SPECIAL_TOKENS
from litgpt.adapters.tokenization.tokenizer_config import TokenizerConfig
from litgpt.domain.errors import CorruptFile
from litgpt.domain.validation.untrusted_files import parse_json, translate_read_errors

_FIRST_LINE = re.compile(rb"[A-Za-z0-9+/]+=* [0-9]+\r?\n")
_FIRST_VERSION = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"),
    *("[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
)
"""Special tokens of a `tekken.json` without a list, from mistral-common."""

_MAX_TOKEN_BYTES = 1_000  # bytes; published tokens have up to 256, and the time is quadratic in the length
_MAX_SPECIAL_TOKENS = 100_000  # published models have up to 1,008


def open_tiktoken(path: Path, config: TokenizerConfig) -> Tokenizer:
    """Return the tokenizer of a tiktoken file: lines of a base64 token and its rank.

    Special tokens are defined in the other files; unnamed ids before the last one are reserved tokens.
    """
    ranks: dict[bytes, int] = {}
    with translate_read_errors(path, reason="it is not a file of tiktoken"):
        for line in path.read_bytes().splitlines():
            if line:
                token, rank = line.split()
                ranks[base64.b64decode(token, validate=True)] = int(rank)
        library = _bpe_from_ranks(ranks, 0, (), CL100K.patterns)
    last = max(config.added_tokens.by_id, default=0)
    if last - len(ranks) > _MAX_SPECIAL_TOKENS:
        raise CorruptFile(str(path), f"it has {len(ranks)} tokens, and an added token has the id {last}.")
    reserved = {token_id: f"<|reserved_token_{token_id}|>" for token_id in range(len(ranks), last + 1)}
    named = {
        token_id: token.text for token_id, token in config.added_tokens.by_id.items() if token_id in reserved
    }
    _add_special(
        library, [*(reserved | named).values(), *(token.text for token in config.added_tokens.extra)]
    )
    return library


def is_tiktoken(path: Path) -> bool:
    """Return whether a `tokenizer.model` is a tiktoken file instead of a sentencepiece model."""
    with translate_read_errors(path), path.open("rb") as file:
        return _FIRST_LINE.match(file.read(4096)) is not None


def open_tekken(path: Path) -> Tokenizer:
    """Return the tokenizer of a `tekken.json`, whose first ids are special tokens."""
    with translate_read_errors(path, reason="it is not a tekken.json"):
        file = parse_json(path.read_bytes())
        config, listed = file["config"], file.get("special_tokens")
        by_rank = {int(token["rank"]): str(token["token_str"]) for token in listed or ()}
        if sorted(by_rank) != list(range(len(listed or ()))):
            raise ValueError("the ranks of its special tokens are not 0, 1, 2, …")
        special = [by_rank[rank] for rank in sorted(by_rank)] or list(_FIRST_VERSION)
        first = int(config.get("default_num_special_tokens") or len(special))
        if not len(special) <= first <= _MAX_SPECIAL_TOKENS:
            raise ValueError(f"it has {first} special tokens")
        special += [f"<SPECIAL_{number}>" for number in range(len(special), first)]
        size = config.get("default_vocab_size")
        tokens = file["vocab"] if size is None else file["vocab"][: int(size) - first]
        ranks = {base64.b64decode(token["token_bytes"]): rank for rank, token in enumerate(tokens)}
        library = _bpe_from_ranks(ranks, first, special, (str(config["pattern"]),))
    _add_special(library, special)
    if special[:2] == [TEKKEN_SPECIAL_TOKENS["unk_token"], TEKKEN_SPECIAL_TOKENS["bos_token"]]:
        begin = TEKKEN_SPECIAL_TOKENS["bos_token"]
        library.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, 1)]
        )
    return library


def _bpe_from_ranks(
    ranks: Mapping[bytes, int], first: int, special: Sequence[str], patterns: Sequence[str]
) -> Tokenizer:
    """Return a BPE tokenizer; `first` is the id of rank 0, and `special` are the tokens before it."""
    if not 0 < max(map(len, ranks), default=0) <= _MAX_TOKEN_BYTES:
        raise ValueError(f"it has no tokens, or one of more than {_MAX_TOKEN_BYTES} bytes")
    letters = byte_level_alphabet()
    written = {token: "".join(map(letters.__getitem__, token)) for token in ranks}
    merges = [
        (written[left], written[right])
        for token, _ in sorted(ranks.items(), key=lambda item: item[1])
        for left, right in sorted(
            (
                (token[:at], token[at:])
                for at in range(1, len(token))
                if token[:at] in ranks and token[at:] in ranks
            ),
            key=lambda pair: (ranks[pair[0]], ranks[pair[1]]),
        )
    ]
    ids = {written[token]: first + rank for token, rank in ranks.items()}
    ids |= {token: token_id for token_id, token in enumerate(special)}
    library = Tokenizer(BPE(ids, merges, ignore_merges=True))
    words = [pre.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    library.pre_tokenizer = pre.Sequence([*words, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    library.decoder = decoders.ByteLevel()
    return library


def _add_special(library: Tokenizer, texts: Iterable[str]) -> None:
    library.add_special_tokens(
        [tokenizers.AddedToken(text, normalized=False, special=True) for text in texts]
    )
