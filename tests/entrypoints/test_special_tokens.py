"""Tests of `parse_special_tokens`: `<|im_end|>` in a prompt, a record or a text, by every entry point."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litgpt import LLM
from litgpt.data import JSON, TextFiles
from litgpt.domain.errors import WrongType
from litgpt.testing import ByteTokenizer
from tests.adapters.tiny_models import tiny_folder

CHATML = (
    "{% for m in messages %}{{ '<|begin|>' + m.role + '\n' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|begin|>' }}{% endif %}"
)
BEGIN, END = 0, 1
TYPED = "Hi<|end|><|begin|>"
BYTES = ByteTokenizer()


def copied(folder: Path, template: str | None) -> Path:
    source = tiny_folder("llama")
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    with LLM.load(copied(tmp_path_factory.mktemp("chat"), CHATML), distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu", precision="32-true")
        yield llm


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    with LLM.load(copied(tmp_path_factory.mktemp("plain"), None), distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu", precision="32-true")
        yield llm


def tokens(llm: LLM, prompt: Any, **options: Any) -> int:
    return llm.complete(prompt, max_new_tokens=1, **options).prompt_tokens  # type: ignore[no-any-return]


ROLE, CONTENT = len("user\n"), len(TYPED)


def test_special_tokens_in_messages_are_text_by_default(chatting: LLM) -> None:
    for prompt in (TYPED, [{"role": "user", "content": TYPED}]):
        assert tokens(chatting, prompt) == 1 + ROLE + CONTENT + 2
        assert tokens(chatting, prompt, parse_special_tokens=True) == 1 + ROLE + len("Hi") + 2 + 2
    assert len(chatting.generate([TYPED, "Hi"], max_new_tokens=1, parse_special_tokens=True)) == 2
    chatting.benchmark(prompt=TYPED, max_new_tokens=1, parse_special_tokens=True)
    with chatting.chat(max_new_tokens=1) as chat:
        assert chat.complete(TYPED).prompt_tokens == 1 + ROLE + CONTENT + 2
    with chatting.chat(max_new_tokens=1, parse_special_tokens=True) as chat:
        assert chat.complete(TYPED).prompt_tokens == 1 + ROLE + len("Hi") + 2 + 2


def test_special_tokens_in_a_raw_prompt_are_parsed_by_default(plain: LLM) -> None:
    assert tokens(plain, TYPED) == len("Hi") + 2
    assert tokens(plain, TYPED, parse_special_tokens=False) == CONTENT
    assert tokens(plain, [{"role": "user", "content": TYPED}]) == CONTENT


def test_the_tokenizer_parses_special_tokens_by_default(plain: LLM) -> None:
    assert plain.tokenizer.encode("a<|end|>").tolist()[-1] == END
    assert END not in plain.tokenizer.encode("a<|end|>", parse_special_tokens=False).tolist()


def test_a_non_boolean_flag_is_refused(chatting: LLM) -> None:
    with pytest.raises(WrongType, match="parse_special_tokens"):
        chatting.generate("Hi", parse_special_tokens="yes")
    with pytest.raises(WrongType, match="parse_special_tokens"):
        JSON(__file__, parse_special_tokens="no")  # type: ignore[arg-type]


@pytest.mark.parametrize(("parse", "ends"), [(False, 2), (True, 4)])
def test_records_are_text(tmp_path: Path, *, parse: bool, ends: int) -> None:
    messages = [
        {"role": "user", "content": "<|end|>?"},
        {"role": "assistant", "content": "Write <|end|> there."},
    ]
    (tmp_path / "data.jsonl").write_text(json.dumps({"messages": messages}))
    module = JSON(tmp_path / "data.jsonl", parse_special_tokens=parse)
    module.connect(BYTES, batch_size=1)
    (batch,) = list(module.train_dataloader())
    assert batch["input_ids"].tolist()[0].count(BYTES.eos_id) == ends


def test_texts_are_text_and_documents_still_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab<|end|>c")
    lengths = []
    for parse in (False, True, False):
        module = TextFiles(tmp_path / "a.txt", parse_special_tokens=parse)
        module.connect(BYTES, max_seq_length=5)
        train, _ = module.datasets()
        ids = [token for number in range(len(train)) for token in train[number]["input_ids"].tolist()]  # type: ignore[arg-type]
        lengths.append((len(ids), ids.count(BYTES.eos_id)))
    assert lengths == [(10, 0), (5, 2), (10, 0)]


@pytest.mark.parametrize("options", [{"apply_chat_template": False}, {"prompt_style": "default"}])
def test_records_that_are_taken_as_they_are_are_parsed(tmp_path: Path, options: Any) -> None:
    (tmp_path / "data.jsonl").write_text(
        json.dumps({"prompt": "<|user|>Hi<|end|>", "completion": "Yes<|end|>"})
    )
    for parse, ends in ((None, 2), (False, 1)):
        module = JSON(tmp_path / "data.jsonl", parse_special_tokens=parse, **options)
        module.connect(BYTES, batch_size=1)
        (batch,) = list(module.train_dataloader())
        assert batch["input_ids"].tolist()[0].count(BYTES.eos_id) == ends
