"""Tests of prompt styles: the formats of the models' training, and errors for unsupported messages."""

import pytest

from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.styles import STYLES, PromptStyle, choose_style, find_style
from litgpt.domain.chat.styles.chat_styles import ALPACA, CODELLAMA
from litgpt.domain.chat.styles.chatml import CHATML
from litgpt.domain.chat.styles.single_turn_styles import PLAIN
from litgpt.domain.errors import CorruptFile, UnsupportedModel, UnsupportedPrompt
from litgpt.domain.generation.eos import eos_token_ids

QUESTION = (Message("user", "Q"),)


@pytest.mark.parametrize(
    "style", [style for style in STYLES if style.turn_end is not None], ids=lambda style: style.name
)
def test_a_longer_conversation_starts_with_the_text_of_the_shorter(style: PromptStyle) -> None:
    before = style.render(QUESTION)
    after = style.render((*QUESTION, Message("assistant", "A"), Message("user", "R")))
    assert after.startswith(f"{before}{style.answer_prefix}A{style.turn_end}")


def test_the_answer_may_be_left_out_for_training() -> None:
    assert CHATML.render(QUESTION, add_generation_prompt=False) == "<|im_start|>user\nQ<|im_end|>\n"


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_message_contents_are_never_format_fields(style: PromptStyle) -> None:
    odd = "{system}{content}{user} {} %s \\n"
    assert odd in style.render((Message("user", odd),))
    if style.system is not None:
        assert (
            style.render((Message("system", "{content}{system}"), *QUESTION)).count("{content}{system}") == 1
        )


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_a_system_prompt_is_expressed_or_refused(style: PromptStyle) -> None:
    conversation = (Message("system", "Speak Latin."), *QUESTION)
    if style.system is None:
        with pytest.raises(UnsupportedPrompt, match="system prompt"):
            style.render(conversation)
    else:
        assert "Speak Latin." in style.render(conversation)


@pytest.mark.parametrize(
    "style", [style for style in STYLES if style.turn_end is None], ids=lambda style: style.name
)
def test_a_style_of_one_question_refuses_a_conversation(style: PromptStyle) -> None:
    with pytest.raises(UnsupportedPrompt, match=f"{style.name} .*earlier answers"):
        style.render((*QUESTION, Message("assistant", "A"), Message("user", "R")))
    with pytest.raises(UnsupportedPrompt, match="one question"):
        style.render((*QUESTION, *QUESTION))


def test_a_space_before_the_answer_occurs_once() -> None:
    for answer in ("A", " A"):
        conversation = (*QUESTION, Message("assistant", answer), Message("user", "R"))
        assert CODELLAMA.render(conversation) == "[INST] Q [/INST] A </s><s>[INST] R [/INST]"


def test_a_late_system_prompt_and_an_unknown_role_are_refused() -> None:
    with pytest.raises(UnsupportedPrompt, match="must be the first message"):
        CHATML.render((*QUESTION, Message("system", "S")))
    with pytest.raises(UnsupportedPrompt, match="'tool'"):
        CHATML.render((*QUESTION, Message("tool", "42")))


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_a_style_is_found_by_each_of_its_names(style: PromptStyle) -> None:
    for name in (style.name, style.litgpt_name, f"litgpt.prompts.{style.litgpt_name}"):
        assert find_style(name) is style


@pytest.mark.parametrize("name", ["my_package.Alpaca", "os.system", "Nonsense", "litgpt.prompts.os"])
def test_an_unknown_style_is_named_and_never_imported(name: str) -> None:
    with pytest.raises(UnsupportedModel, match=rf"^{name} is not supported: .* Alpaca"):
        find_style(name)


def test_a_saved_style_comes_before_the_chat_template_and_that_before_plain_text() -> None:
    assert choose_style("Alpaca", has_chat_template=True) is ALPACA
    assert choose_style(None, has_chat_template=True) is None
    assert choose_style(None, has_chat_template=False) is PLAIN


def test_end_tokens_come_from_both_configs_and_may_be_lists() -> None:
    assert eos_token_ids({"eos_token_id": 2}, {"eos_token_id": [128001, 128009]}) == {2, 128001, 128009}
    assert eos_token_ids({}, {"eos_token_id": None}) == frozenset()


@pytest.mark.parametrize("value", ["2", True, [1, None], -1, 2.0])
def test_an_invalid_end_token_is_refused_with_its_file(value: object) -> None:
    with pytest.raises(CorruptFile, match=r"generation_config\.json"):
        eos_token_ids({"eos_token_id": 2}, {"eos_token_id": value})
