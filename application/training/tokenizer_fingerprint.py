"""Recognize a tokenizer: whether what was encoded once would come out the same now."""

from hashlib import sha256
from itertools import chain

from litgpt.domain.ports import Tokenizer

SAMPLE_TEXT = (
    "The quick brown fox jumps over 12 lazy dogs, doesn't it?\n\n\tdef f(x):\n        return {'x': 3.14e-9}\n"
    "  Übung à Kraków: Ελλάδα, Москва, 東京, 서울, नमस्ते, שלום, مرحبا, 🦙👩‍👩‍👧 <b>&amp;</b> http://a.b/c?d "
)
SAMPLE_SIZE = 2048


def fingerprint(tokenizer: Tokenizer) -> str:
    """Return a text that is another for tokenizers that encode differently.

    It is of what they make of a sample of many kinds of text, and of tokens from all over the vocabulary.
    """
    size = tokenizer.vocab_size
    some = chain(range(0, size, size // SAMPLE_SIZE + 1), range(max(0, size - 64), size))
    said = (
        size,
        tokenizer.bos_id,
        tokenizer.eos_id,
        tokenizer.encode(SAMPLE_TEXT),
        [tokenizer.decode([one], include_special_tokens=True) for one in some],
    )
    return sha256(repr(said).encode("utf-8", "backslashreplace")).hexdigest()
