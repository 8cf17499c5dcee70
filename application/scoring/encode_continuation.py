"""Tokenize a prompt and its continuation as lm-eval does."""

from litgpt.domain.errors import InvalidArgument
from litgpt.domain.ports import Tokenizer
from litgpt.domain.scoring.request import ScoringRequest


def encode_continuation(tokenizer: Tokenizer, prompt: str, continuation: str) -> ScoringRequest:
    """Return the tokens of a prompt with its continuation, of which the latter are scored.

    Both are encoded together and split at the number of tokens of the prompt alone, since tokens usually
    begin with a space. Trailing spaces of the prompt are moved to the continuation for the same reason. An
    empty prompt is the beginning-of-sequence token, or the end-of-sequence token if there is none.

    Raises:
        InvalidArgument: The prompt is empty and the tokenizer has neither token, or the continuation adds
            none.
    """
    context = prompt.rstrip()
    continuation = prompt[len(context) :] + continuation
    if not context:
        first = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
        if first is None:
            reason = "at least one character long, as the tokenizer has no token that begins a text"
            raise InvalidArgument("prompt", prompt, reason)
        ids, start = [first, *tokenizer.encode(continuation, bos=False)], 1
    else:
        ids, start = tokenizer.encode(context + continuation), len(tokenizer.encode(context))
    if start >= len(ids):
        raise InvalidArgument("continuations", continuation, "free of texts that add no token to the prompt")
    return ScoringRequest(ids=ids, start=start)
