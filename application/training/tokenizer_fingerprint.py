"""Fingerprints of tokenizers, to detect that cached token ids are outdated."""

from hashlib import sha256
from itertools import chain

from litgpt.domain.ports import Tokenizer

SAMPLE_TEXT = (
    "The quick brown fox jumps over 12 lazy dogs, doesn't it?\n\n\tdef f(x):\n        return {'x': 3.14e-9}\n"
    "  Übung à Kraków: Ελλάδα, Москва, 東京, 서울, नमस्ते, שלום, مرحبا, 🦙👩‍👩‍👧 <b>&amp;</b> http://a.b/c?d "
)
SAMPLE_SIZE = 2048


def fingerprint(tokenizer: Tokenizer) -> str:
    """Return a hash of the encoding of a text in many scripts and of a sample of the vocabulary."""
    size = tokenizer.vocab_size
    sample = chain(range(0, size, size // SAMPLE_SIZE + 1), range(max(0, size - 64), size))
    facts = (
        size,
        tokenizer.bos_id,
        tokenizer.eos_id,
        tokenizer.encode(SAMPLE_TEXT),
        [tokenizer.decode([token], include_special_tokens=True) for token in sample],
    )
    return sha256(repr(facts).encode("utf-8", "backslashreplace")).hexdigest()
