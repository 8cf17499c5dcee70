"""The prompt style of a saved model, for other programs: a chat template and the tokens that end answers."""

from collections.abc import Mapping

from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.styles.jinja_template import to_jinja
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.generation.eos import eos_token_ids
from litgpt.domain.ports import Tokenizer


def stop_token_ids(tokenizer: Tokenizer, style: PromptStyle | None) -> frozenset[int]:
    """Return the tokens that end an answer: those of the style, and those of the tokenizer's own files.

    Args:
        tokenizer: The model's tokenizer.
        style: The prompt style; None is the tokenizer's chat template.

    """
    stops = frozenset[int]() if style is None else style.split_stops(tokenizer)[0]
    eos = tokenizer.eos_id
    return tokenizer.stop_token_ids | stops | (frozenset() if eos is None else {eos})


def answer_terminator(tokenizer: Tokenizer, style: PromptStyle) -> str:
    """Return what a training example has after its last answer.

    It is the beginning of what the style writes there, up to a token that ends an answer; if there is no such
    token, the tokenizer's end-of-text token instead (`EncodeExample` in
    application/training/encode_example.py).
    """
    end = style.turn_end or ""
    tokens = [_token_text(tokenizer, token) for token in stop_token_ids(tokenizer, style)]
    stops = [end.rfind(token) + len(token) for token in tokens if token and token in end]
    if stops and not tokenizer.decode(tokenizer.encode(end[max(stops) :], bos=False)).strip():
        return end[: max(stops)]
    return "" if tokenizer.eos_id is None else _token_text(tokenizer, tokenizer.eos_id)


def export_chat_template(tokenizer: Tokenizer, style: PromptStyle) -> str:
    """Return the style as a chat template, whose text this tokenizer encodes to the ids that were trained.

    Args:
        tokenizer: The model's tokenizer. It puts its beginning token before a prompt in this style, so the
            template writes that token: what a template has rendered is encoded as it is.
        style: The prompt style.

    """
    return to_jinja(
        style, bos=_exported_bos(tokenizer, style), final_turn_end=answer_terminator(tokenizer, style)
    )


def exported_stop_token_ids(
    tokenizer: Tokenizer, style: PromptStyle | None, *, trained: bool
) -> frozenset[int]:
    """Return the tokens at which other programs should end an answer.

    Args:
        tokenizer: The model's tokenizer.
        style: The prompt style; None is the tokenizer's chat template.
        trained: Whether the model was trained in the style, and so ends some answers with the tokenizer's
            end-of-text token.

    """
    if trained or style is None:
        return stop_token_ids(tokenizer, style)
    return style.split_stops(tokenizer)[0]


def with_stop_token_ids(
    token_ids: frozenset[int], config: Mapping[str, object], generation_config: Mapping[str, object]
) -> Mapping[str, object]:
    """Return `generation_config.json` with more tokens that end an answer.

    Args:
        token_ids: The tokens.
        config: The contents of `config.json`, which counts where the other names no token.
        generation_config: The contents of `generation_config.json`.

    """
    known = eos_token_ids({}, generation_config) or eos_token_ids(config, {})
    if token_ids <= known:
        return generation_config
    ids = [*sorted(known), *sorted(token_ids - known)]
    return {**generation_config, "eos_token_id": ids if len(ids) > 1 else ids[0]}


def _exported_bos(tokenizer: Tokenizer, style: PromptStyle) -> str:
    if not tokenizer.adds_bos or tokenizer.bos_id is None:
        return ""
    begin = _token_text(tokenizer, tokenizer.bos_id)
    prompt = style.render([Message("user", "Hi")])
    if prompt.startswith(begin):
        return ""
    trained = tokenizer.encode(prompt)
    # Some tokenizers put a space before a text, and none after the beginning token.
    spaced = tokenizer.encode(f"{begin}{prompt}", bos=False) != trained
    return f"{begin} " if spaced and tokenizer.encode(f"{begin} {prompt}", bos=False) == trained else begin


def _token_text(tokenizer: Tokenizer, token: int) -> str:
    return tokenizer.decode([token], include_special_tokens=True)
