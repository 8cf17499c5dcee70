"""Measure llama.cpp through llama-cpp-python."""

from argparse import Namespace
from typing import Any

from measuring import Library, OnToken, measure

CELLS = 256
"""The size of a sequence's cache is a multiple of this number of tokens."""


def import_library() -> None:
    """Import the library, which loads its shared libraries."""
    import llama_cpp  # noqa: F401


def load(arguments: Namespace) -> Any:
    """Load the model and its tokenizer."""
    from llama_cpp import Llama

    return Llama(
        arguments.model,
        n_ctx=arguments.context,
        n_threads=arguments.threads,
        n_threads_batch=arguments.threads,
        verbose=False,
    )


def tokenize(model: Any, prompt: str) -> list[int]:
    """Return the token ids of a prompt; as everywhere, without a token for its beginning."""
    ids: list[int] = model.tokenize(prompt.encode(), add_bos=False, special=True)
    return ids


def generate(model: Any, prompt: str, at_most: int, on_token: OnToken) -> None:
    """Generate greedily, without stopping at the end of the answer."""
    tokens = model.generate(tokenize(model, prompt), top_k=1, temp=0.0, repeat_penalty=1.0)
    for _, token in zip(range(at_most), tokens, strict=False):
        on_token(int(token))


def generate_batch(model: Any, prompts: list[str], at_most: int) -> int:
    """Generate greedily for all prompts in one context, with a step of all of them for each token."""
    import llama_cpp

    texts = [tokenize(model, prompt) for prompt in prompts]
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = len(texts) * -(-max(len(text) + at_most for text in texts) // CELLS) * CELLS
    parameters.n_batch = parameters.n_ubatch = max(512, sum(map(len, texts)))
    parameters.n_seq_max = len(texts)
    parameters.n_threads, parameters.n_threads_batch = model.n_threads, model.n_threads_batch
    context = llama_cpp.llama_init_from_model(model.model, parameters)
    batch = llama_cpp.llama_batch_init(parameters.n_batch, 0, 1)
    try:
        tokens = step(context, batch, [(0, text) for text in texts], model.n_vocab())
        for at in range(1, at_most):
            ended = [(len(text) + at - 1, [token]) for text, token in zip(texts, tokens, strict=True)]
            tokens = step(context, batch, ended, model.n_vocab())
    finally:
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)
    return len(texts) * at_most


def step(context: Any, batch: Any, sequences: list[tuple[int, list[int]]], vocab_size: int) -> list[int]:
    """Append tokens to each sequence, from the given position on; return the likeliest next ones."""
    import llama_cpp
    import numpy as np

    last, batch.n_tokens = [], 0
    for sequence, (position, tokens) in enumerate(sequences):
        for offset, token in enumerate(tokens):
            at = batch.n_tokens
            batch.token[at], batch.pos[at] = token, position + offset
            batch.n_seq_id[at], batch.seq_id[at][0], batch.logits[at] = 1, sequence, False
            batch.n_tokens += 1
        last.append(batch.n_tokens - 1)
        batch.logits[last[-1]] = True
    if llama_cpp.llama_decode(context, batch):
        raise SystemExit("llama_decode failed")
    rows = (llama_cpp.llama_get_logits_ith(context, at) for at in last)
    return [int(np.ctypeslib.as_array(row, (vocab_size,)).argmax()) for row in rows]


if __name__ == "__main__":
    measure(
        Library(
            "llama-cpp-python",
            import_library,
            load,
            generate,
            generate_batch,
            clear_cache=lambda model: model.reset(),
            uses_torch=False,
        )
    )
