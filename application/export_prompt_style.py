"""Export a prompt style for other programs, as a chat template and end-of-sequence tokens."""

from collections.abc import Mapping

from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.styles.jinja_template import to_jinja
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.generation.eos import eos_token_ids
from litgpt.domain.ports import Tokenizer


def stop_token_ids(tokenizer: Tokenizer, style: PromptStyle | None) -> frozenset[int]:
    """Return the stop tokens of the prompt style (None: the chat template) and the tokenizer's files."""
    stops = frozenset[int]() if style is None else style.split_stops(tokenizer.token_to_id)[0]
    eos = tokenizer.eos_id
    return tokenizer.stop_token_ids | stops | (frozenset() if eos is None else {eos})


def answer_terminator(tokenizer: Tokenizer, style: PromptStyle) -> str:
    """Return the text after the last answer of a training example; see `EncodeExample`.

    It is the style's end of turn up to a stop token or, without a stop token, the tokenizer's end-of-sequence
    token.
    """
    end = style.turn_end or ""
    tokens = [_token_text(tokenizer, token) for token in stop_token_ids(tokenizer, style)]
    stops = [end.rfind(token) + len(token) for token in tokens if token and token in end]
    if stops and not tokenizer.decode(tokenizer.encode(end[max(stops) :], bos=False)).strip():
        return end[: max(stops)]
    return "" if tokenizer.eos_id is None else _token_text(tokenizer, tokenizer.eos_id)


def export_chat_template(tokenizer: Tokenizer, style: PromptStyle) -> str:
    """Return the style as a chat template that produces the token ids of training.

    If the tokenizer prepends a beginning-of-sequence token to prompts in this style, the template renders it,
    as rendered templates are encoded without it.
    """
    return to_jinja(
        style, bos=_exported_bos(tokenizer, style), final_turn_end=answer_terminator(tokenizer, style)
    )


def exported_stop_token_ids(
    tokenizer: Tokenizer, style: PromptStyle | None, *, trained: bool
) -> frozenset[int]:
    """Return the stop tokens for other programs.

    After training, answers of a style can end with the tokenizer's end-of-sequence token.
    """
    if trained or style is None:
        return stop_token_ids(tokenizer, style)
    return style.split_stops(tokenizer.token_to_id)[0]


def with_stop_token_ids(
    token_ids: frozenset[int], config: Mapping[str, object], generation_config: Mapping[str, object]
) -> Mapping[str, object]:
    """Return `generation_config.json` with additional stop tokens; `config.json` has the defaults."""
    known = eos_token_ids({}, generation_config) or eos_token_ids(config, {})
    if token_ids <= known:
        return generation_config
    ids = [*sorted(known), *sorted(token_ids - known)]
    return {**generation_config, "eos_token_id": ids if len(ids) > 1 else ids[0]}


def _exported_bos(tokenizer: Tokenizer, style: PromptStyle) -> str:
    if not tokenizer.adds_bos or tokenizer.bos_id is None:
        return ""
    bos = _token_text(tokenizer, tokenizer.bos_id)
    prompt = style.render([Message("user", "Hi")])
    if prompt.startswith(bos):
        return ""
    trained = tokenizer.encode(prompt)
    # Some tokenizers prepend a space to a text, but not after the beginning-of-sequence token.
    spaced = tokenizer.encode(f"{bos}{prompt}", bos=False) != trained
    return f"{bos} " if spaced and tokenizer.encode(f"{bos} {prompt}", bos=False) == trained else bos


def _token_text(tokenizer: Tokenizer, token: int) -> str:
    return tokenizer.decode([token], include_special_tokens=True)
