"""Whether a draft model has the vocabulary of the model whose texts it drafts."""

from litgpt.domain.errors import TokenizerMismatch
from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.ports import Tokenizer


def check_draft_vocabulary(name: str, tokenizer: Tokenizer, draft_name: str, draft: Tokenizer) -> None:
    """Check that two models have the same token for each id that both have.

    Names of special tokens may differ, and one vocabulary may be longer, such as by padding or by added
    tokens: a token that only one of the models has is never drafted.

    Raises:
        TokenizerMismatch: The vocabularies differ; the message has the number of ids, and the first of them.
    """
    size = min(tokenizer.vocab_size, draft.vocab_size)
    differing = [token for token in range(size) if tokenizer.token_bytes(token) != draft.token_bytes(token)]
    if differing:
        first = differing[0]
        tokens = (short_repr(it.token_bytes(first).decode(errors="replace")) for it in (draft, tokenizer))
        reason = (
            f"cannot draft for {name}: {len(differing):,} of {size:,} token ids differ, first {first}: "
            f"{' and '.join(tokens)}."
        )
        remedy = f"Pass a smaller model with the tokenizer of {name}, as of the same family, or leave it out."
        raise TokenizerMismatch(draft_name, reason, remedy)
