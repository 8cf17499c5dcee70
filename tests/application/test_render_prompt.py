from typing import Any

import attrs
import pytest

from litgpt.application.generation_options import GenerationOptions
from litgpt.application.load_model import LoadedModel
from litgpt.application.prepare_requests import prepare_requests
from litgpt.application.render_prompt import RenderPrompt, split_prompts, to_messages
from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.styles import PromptStyle, find_style
from litgpt.domain.errors import InvalidArgument, UnsupportedPrompt, WrongType
from litgpt.domain.families import parse_config
from litgpt.domain.generation.sampling_params import MODEL_DEFAULT, SamplingParams
from litgpt.domain.generation.stop_strings import StopStrings
from litgpt.domain.tokenizer_source import TokenizerFiles
from litgpt.testing import ByteTokenizer, MemoryCheckpoint
from tests.contracts.distribution_strategy import CONFIG

HELLO = {"role": "user", "content": "Hello"}


def loaded(style: PromptStyle | None = None) -> LoadedModel[object]:
    return LoadedModel(
        checkpoint=MemoryCheckpoint(CONFIG),
        architecture=parse_config("tiny", CONFIG),
        weight_sources=(),
        tokenizer=ByteTokenizer(),
        tokenizer_source=TokenizerFiles({}),
        prompt_style=style,
        eos_token_ids=frozenset({257}),
    )


def test_a_string_is_a_user_message_after_the_system_prompt() -> None:
    assert to_messages("Hello") == (Message("user", "Hello"),)
    assert to_messages("Hello", "Be brief.") == (Message("system", "Be brief."), Message("user", "Hello"))
    assert to_messages([HELLO], "Be brief.") == to_messages("Hello", "Be brief.")


def test_two_system_prompts_are_one_too_many() -> None:
    with pytest.raises(InvalidArgument, match="sys_prompt"):
        to_messages([{"role": "system", "content": "Be long."}, HELLO], "Be brief.")


def test_a_list_of_messages_is_one_prompt_and_a_list_of_others_is_several() -> None:
    assert split_prompts("Hello") == (("Hello",), False)
    assert split_prompts(["Hello", "Bye"]) == (("Hello", "Bye"), True)
    assert split_prompts([HELLO]) == (((Message("user", "Hello"),),), False)
    assert split_prompts([[HELLO], [HELLO]])[1]


@pytest.mark.parametrize(
    "prompt", [3, None, b"Hello", [3], [{"role": "user"}], ["Hello", 3], {"role": "user"}]
)
def test_an_invalid_prompt_is_a_wrong_type(prompt: object) -> None:
    with pytest.raises(WrongType):
        split_prompts(prompt)


def test_the_style_writes_the_prompt_and_without_one_the_template_does() -> None:
    messages = to_messages("Hello")
    assert RenderPrompt(ByteTokenizer(), None).render(messages) == "<|user|>Hello<|end|><|assistant|>"
    assert "### Instruction:\nHello" in RenderPrompt(ByteTokenizer(), find_style("alpaca")).render(messages)


def test_the_template_writes_the_beginning_token_itself_and_for_a_style_the_tokenizer_does() -> None:
    tokenizer = ByteTokenizer(adds_bos=True)
    assert RenderPrompt(tokenizer, None).encode("Hi") == [*b"Hi"]
    assert RenderPrompt(tokenizer, find_style("default")).encode("Hi") == [tokenizer.bos_id, *b"Hi"]


def test_a_system_prompt_that_the_style_does_not_support_is_an_error() -> None:
    with pytest.raises(UnsupportedPrompt, match="system prompt"):
        RenderPrompt(ByteTokenizer(), find_style("default")).render(to_messages("Hello", "Be brief."))


def test_requests_have_all_settings_and_end_tokens() -> None:
    settings = GenerationOptions(max_new_tokens=7, temperature=0.5, seed=3, stop="END", logprobs=True)
    style = attrs.evolve(find_style("default"), stop_sequences=("###",))
    prepared = prepare_requests(loaded(style), ["a", "bb"], None, settings, context_length=100)
    assert prepared.is_batch
    assert prepared.stop_strings == StopStrings(("END", "###"))
    first, second = prepared.requests
    assert len(second.prompt) == len(first.prompt) + 1
    assert (first.max_new_tokens, first.sampling_params.seed, first.logprobs) == (7, 3, True)
    assert first.stop_token_ids == {257}


def test_no_bound_is_the_contexts() -> None:
    prepared = prepare_requests(
        loaded(), "a", None, GenerationOptions(max_new_tokens=None), context_length=100
    )
    assert prepared.requests[0].max_new_tokens == 100
    assert not prepared.is_batch


def test_unset_sampling_options_are_the_models_and_none_is_a_value() -> None:
    model = attrs.evolve(loaded(), sampling_params=SamplingParams(temperature=0.6, top_k=20, top_p=0.9))

    def drawn(**options: Any) -> SamplingParams:
        return (
            prepare_requests(model, "a", None, GenerationOptions(**options), context_length=100)
            .requests[0]
            .sampling_params
        )

    assert drawn() == SamplingParams(temperature=0.6, top_k=20, top_p=0.9)
    assert drawn(seed=1, top_k=None) == SamplingParams(temperature=0.6, top_k=None, top_p=0.9, seed=1)
    assert drawn(temperature=1.0, top_p=1.0) == SamplingParams(temperature=1.0, top_k=20, top_p=1.0)
    assert drawn(temperature=MODEL_DEFAULT) == drawn()
