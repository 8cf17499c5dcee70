"""Tests of prompt styles exported as chat templates: transformers renders the ids of the training data."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from litgpt.adapters.checkpoints.hf.config_files import tokenizer_files, with_chat_template
from litgpt.adapters.tokenization.checkpoint_tokenizer import CheckpointTokenizer
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.application.export_prompt_style import export_chat_template
from litgpt.application.render_prompt import RenderPrompt
from litgpt.application.training.encode_example import EncodeExample
from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.styles import STYLES, find_style
from litgpt.domain.chat.styles.jinja_template import to_jinja
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.errors import UnsupportedPrompt
from tests.adapters.tiny_tokenizers import byte_level, pieces, write

QUESTION = Message("user", "Why {content}{system} {{ x }} {% y %} 'q' \\n\n is it? ")
ANSWER, NEXT, LAST = Message("assistant", " So."), Message("user", "And?"), Message("assistant", "Yes.\n")
SYSTEM = Message("system", "Be 'brief'.")
CONVERSATIONS = {
    "one turn": (QUESTION,),
    "system": (SYSTEM, QUESTION),
    "an empty system prompt": (Message("system", ""), QUESTION),
    "several turns": (QUESTION, ANSWER, NEXT),
    "system and several turns": (SYSTEM, QUESTION, ANSWER, NEXT, LAST, QUESTION),
    "two questions": (QUESTION, NEXT),
    "a late system prompt": (QUESTION, SYSTEM),
    "a tool": (QUESTION, Message("tool", "42")),
    "an answer first": (ANSWER, QUESTION),
    "nothing": (),
}
STYLE = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)


def by_transformers(template: str, messages: tuple[Message, ...], *, answer: bool) -> str | None:
    """Return the text that transformers renders; None if the template raises."""
    try:
        rendered = render_jinja_template(
            [[message.as_dict() for message in messages]],
            chat_template=template,
            add_generation_prompt=answer,
        )[0]
    except jinja2.TemplateError:
        return None
    return "".join(rendered)


def by_style(style: PromptStyle, messages: tuple[Message, ...], *, answer: bool) -> str | None:
    try:
        return style.render(messages, add_generation_prompt=answer)
    except UnsupportedPrompt:
        return None


@STYLE
@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_a_template_renders_and_refuses_what_its_style_does(
    style: PromptStyle, messages: tuple[Message, ...]
) -> None:
    template = to_jinja(style)
    for answer in (True, False):
        assert by_transformers(template, messages, answer=answer) == by_style(style, messages, answer=answer)


def test_an_exported_template_refuses_unsupported_messages_with_the_reason() -> None:
    for style, messages, reason in (
        ("chatml", (QUESTION, SYSTEM), "A system prompt must be the first message."),
        ("gemma", (SYSTEM, QUESTION), "does not support a system prompt"),
        ("flan", (QUESTION, ANSWER, NEXT), "a single question, not a conversation"),
        ("chatml", (Message("tool", "42"),), "Unsupported role tool"),
    ):
        with pytest.raises(jinja2.TemplateError, match=reason):
            render_jinja_template(
                [[message.as_dict() for message in messages]], chat_template=to_jinja(find_style(style))
            )


@cache
def first_space() -> Tokenizer:
    """Return a tokenizer that prepends `<s>` and a space, but no space after a literal `<s>`."""
    library = pieces()
    library.normalizer = None
    library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    library.decoder = decoders.Metaspace(prepend_scheme="first")
    return beginning(library)


def beginning(library: Tokenizer) -> Tokenizer:
    library.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", library.token_to_id("<s>"))]
    )
    return library


# A tokenizer, and its settings: a beginning token or none, an end-of-text token or none.
KINDS: dict[str, tuple[Callable[[], Tokenizer], dict[str, Any]]] = {
    "a beginning": (byte_level, {"eos_token": "<|im_end|>"}),
    "another end": (byte_level, {"eos_token": "<|begin|>"}),
    "spaces": (lambda: beginning(pieces()), {"bos_token": "<s>", "eos_token": "</s>"}),
    "one space": (first_space, {"bos_token": "<s>", "eos_token": "</s>"}),
    "no end": (byte_level, {}),
}


@pytest.fixture(scope="module", params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CheckpointTokenizer:
    make, settings = KINDS[request.param]
    folder = tmp_path_factory.mktemp("tokenizer")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **settings}
    return open_tokenizer(
        write(folder, {"tokenizer.json": make(), "tokenizer_config.json": config}), name=str(folder)
    )


def exported(tokenizer: CheckpointTokenizer, style: PromptStyle) -> Any:
    """Return transformers' tokenizer of a folder with the exported template."""
    folder = Path(tokenizer.name)
    files = {name: path.read_bytes() for name, path in tokenizer_files(folder).paths.items()}
    for name, content in with_chat_template(files, export_chat_template(tokenizer, style)).items():
        (folder / name).write_bytes(content)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "style",
    [
        find_style(name)
        for name in (
            "alpaca",
            "chatml",
            "default",
            "flan",
            "llama2",
            "codellama",
            "llama3",
            "gemma",
            "r1-base",
        )
    ],
    ids=lambda style: style.name,
)
def test_transformers_makes_the_ids_of_prompts_and_of_examples(
    opened: CheckpointTokenizer, style: PromptStyle
) -> None:
    reference = exported(opened, style)
    writer, teach = RenderPrompt(opened, style), EncodeExample(opened, style)
    for messages in ((NEXT,), (SYSTEM, NEXT), (NEXT, LAST, NEXT)):
        for example in (messages, (*messages, LAST)):
            answer = example[-1].role == "user"
            try:
                expected = writer.encode(writer.render(example)) if answer else [*teach(example).token_ids]
            except UnsupportedPrompt:
                with pytest.raises(jinja2.TemplateError):
                    reference.apply_chat_template([message.as_dict() for message in example])
                continue
            text = reference.apply_chat_template(
                [message.as_dict() for message in example], tokenize=False, add_generation_prompt=answer
            )
            assert reference(text, add_special_tokens=False).input_ids == expected, (text, example)
