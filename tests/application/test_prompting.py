from typing import Any

import attrs
import pytest

from litgpt.application.asking import Settings, ask
from litgpt.application.loading import LoadedModel
from litgpt.application.prompting import WritePrompt, conversation, prompts
from litgpt.domain.chat import Message
from litgpt.domain.errors import BadArgument, BadPrompt, WrongType
from litgpt.domain.families import describe
from litgpt.domain.prompts import PromptStyle, style_named
from litgpt.domain.sampling import MODEL_DEFAULT, Sampling
from litgpt.domain.vocabulary import TokenizerFiles
from litgpt.testing import ByteTokenizer, MemoryCheckpoint
from tests.contracts.distribution_strategy import CONFIG

HELLO = {"role": "user", "content": "Hello"}


def loaded(style: PromptStyle | None = None) -> LoadedModel[object]:
    return LoadedModel(
        checkpoint=MemoryCheckpoint(CONFIG),
        architecture=describe("tiny", CONFIG),
        joins=(),
        tokenizer=ByteTokenizer(),
        tokenizer_source=TokenizerFiles({}),
        style=style,
        end_ids=frozenset({257}),
        stop=("###",),
    )


def test_a_text_is_what_the_user_says_and_the_system_speaks_first() -> None:
    assert conversation("Hello") == (Message("user", "Hello"),)
    assert conversation("Hello", "Be brief.") == (Message("system", "Be brief."), Message("user", "Hello"))
    assert conversation([HELLO], "Be brief.") == conversation("Hello", "Be brief.")


def test_two_system_prompts_are_one_too_many() -> None:
    with pytest.raises(BadArgument, match="sys_prompt"):
        conversation([{"role": "system", "content": "Be long."}, HELLO], "Be brief.")


def test_a_list_of_messages_is_one_prompt_and_a_list_of_others_is_several() -> None:
    assert prompts("Hello") == (("Hello",), False)
    assert prompts(["Hello", "Bye"]) == (("Hello", "Bye"), True)
    assert prompts([HELLO]) == (((Message("user", "Hello"),),), False)
    assert prompts([[HELLO], [HELLO]])[1]


@pytest.mark.parametrize(
    "prompt", [3, None, b"Hello", [3], [{"role": "user"}], ["Hello", 3], {"role": "user"}]
)
def test_what_is_no_prompt_is_a_wrong_type(prompt: object) -> None:
    with pytest.raises(WrongType):
        prompts(prompt)


def test_the_style_writes_the_prompt_and_without_one_the_template_does() -> None:
    said = conversation("Hello")
    assert WritePrompt(ByteTokenizer(), None).render(said) == "<|user|>Hello<|end|><|assistant|>"
    assert "### Instruction:\nHello" in WritePrompt(ByteTokenizer(), style_named("alpaca")).render(said)


def test_the_template_writes_the_beginning_token_itself_and_for_a_style_the_tokenizer_does() -> None:
    tokenizer = ByteTokenizer(adds_bos=True)
    assert WritePrompt(tokenizer, None).encode("Hi") == [*b"Hi"]
    assert WritePrompt(tokenizer, style_named("default")).encode("Hi") == [tokenizer.bos_id, *b"Hi"]


def test_what_a_style_cannot_say_is_an_error() -> None:
    with pytest.raises(BadPrompt, match="system prompt"):
        WritePrompt(ByteTokenizer(), style_named("default")).render(conversation("Hello", "Be brief."))


def test_what_is_asked_carries_all_settings_and_what_ends_an_answer() -> None:
    settings = Settings(max_new_tokens=7, temperature=0.5, seed=3, stop="END", logprobs=True)
    asked = ask(loaded(), ["a", "bb"], None, settings, context=100)
    assert asked.several
    assert asked.stop == ("END", "###")
    first, second = asked.requests
    assert len(second.prompt) == len(first.prompt) + 1
    assert (first.max_new_tokens, first.sampling.seed, first.logprobs) == (7, 3, True)
    assert first.end_ids == {257}


def test_no_bound_is_the_contexts() -> None:
    asked = ask(loaded(), "a", None, Settings(max_new_tokens=None), context=100)
    assert asked.requests[0].max_new_tokens == 100
    assert not asked.several


def test_what_is_left_unsaid_is_the_models_and_none_is_a_value() -> None:
    model = attrs.evolve(loaded(), sampling=Sampling(temperature=0.6, top_k=20, top_p=0.9))

    def drawn(**given: Any) -> Sampling:
        return ask(model, "a", None, Settings(**given), context=100).requests[0].sampling

    assert drawn() == Sampling(temperature=0.6, top_k=20, top_p=0.9)
    assert drawn(seed=1, top_k=None) == Sampling(temperature=0.6, top_k=None, top_p=0.9, seed=1)
    assert drawn(temperature=1.0, top_p=1.0) == Sampling(temperature=1.0, top_k=20, top_p=1.0)
    assert drawn(temperature=MODEL_DEFAULT) == drawn()
