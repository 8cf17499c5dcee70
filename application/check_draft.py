"""Whether a draft model can be used with a model: its vocabulary, its architecture, and their engine."""

from litgpt.domain.distribution.placement import Placement
from litgpt.domain.errors import TokenizerMismatch, UnsupportedOperation
from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.model import Architecture
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


def check_draft(
    model: tuple[str, Architecture],
    draft: tuple[str, Architecture],
    placement: Placement,
    missing_part: str | None,
) -> None:
    """Check a draft model before anything is built.

    Args:
        model: The name and the architecture of the model whose texts it drafts.
        draft: Those of the draft model.
        placement: The placement of the former.
        missing_part: A part of the draft model that the native engine does not have; None: it has all.

    Raises:
        UnsupportedOperation: The engine, or one of the models, does not support drafts.
    """
    name, draft_name = model[0], draft[0]
    requested = f"Drafting for {name} with {draft_name}"
    if placement.engine != "native":
        reason = (
            f"only the native engine does, and {name} is computed with torch. Use the native engine "
            "(engine='native' in distribute(), --engine native), or leave out the draft model."
        )
        raise UnsupportedOperation(requested, reason)
    if missing_part is not None:
        reason = f"the native engine does not have {missing_part} of {draft_name}. Use another draft model."
        raise UnsupportedOperation(requested, reason)
    for refused, architecture in (model, draft):
        if not architecture.can_truncate_cache:
            reason = (
                f"tokens that are rejected cannot be removed from the KV cache of {refused}, "
                "which has sliding windows or recurrent states. Leave out the draft model."
            )
            raise UnsupportedOperation(requested, reason)
