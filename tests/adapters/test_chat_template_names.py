"""Tests of multiple chat templates: discovery in all formats, selection as in transformers, and saving."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from litgpt.adapters.checkpoints.hf.config_files import tokenizer_files
from litgpt.adapters.hub.file_filter import non_weight_files
from litgpt.adapters.hub.file_filter import tokenizer_files as hub_files
from litgpt.adapters.tokenization.export import export_tokenizer
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.errors import UnsupportedPrompt
from litgpt.domain.tokenizer_source import GgufVocabulary, TokenizerFiles
from tests.adapters import tiny_tokenizers as tiny

ASKED = (Message("user", "Hi"),)
TEMPLATES = {
    "default": "{{ messages[0].content }}",
    "tool_use": "{{ tools | tojson }}",
    "rag": "{{ documents }}",
}
LISTED = [{"name": name, "template": template} for name, template in TEMPLATES.items()]
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": {"name": "f"}}]


def in_config(folder: Path) -> None:
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": LISTED}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def in_files(folder: Path) -> None:
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": "not this one"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATES["default"], encoding="utf-8")
    (folder / "additional_chat_templates").mkdir()
    for name in ("tool_use", "rag"):
        (folder / "additional_chat_templates" / f"{name}.jinja").write_text(TEMPLATES[name], encoding="utf-8")


def renders(source: TokenizerFiles | GgufVocabulary) -> list[str]:
    tokenizer = open_tokenizer(source, name="m")
    return [tokenizer.render(ASKED, options=TemplateOptions(tools=tools)) for tools in (None, TOOLS, ())]


@pytest.mark.parametrize("write", [in_config, in_files])
def test_a_template_for_tools_is_chosen_as_transformers_chooses_it(write: Any, tmp_path: Path) -> None:
    tiny.byte_level().save(str(tmp_path / "tokenizer.json"))
    write(tmp_path)
    reference: Any = AutoTokenizer.from_pretrained(tmp_path)
    expected = [
        reference.apply_chat_template([request.as_dict() for request in ASKED], tools=tools, tokenize=False)
        for tools in (None, TOOLS, [])
    ]
    assert expected[0] == "Hi"
    assert renders(tokenizer_files(tmp_path)) == expected


@pytest.mark.parametrize("write", [in_config, in_files])
def test_a_copy_has_all_adapters(write: Any, tmp_path: Path) -> None:
    tiny.byte_level().save(str(tmp_path / "tokenizer.json"))
    write(tmp_path)
    copy = tmp_path / "copy"
    (copy / "additional_chat_templates").mkdir(parents=True)
    for name, content in export_tokenizer(tokenizer_files(tmp_path), name="m").items():
        (copy / name).write_bytes(content)
    assert renders(tokenizer_files(copy)) == renders(tokenizer_files(tmp_path))


def test_chat_templates_of_a_gguf_file_are_saved_as_transformers_reads_them(tmp_path: Path) -> None:
    merged = json.loads(tiny.byte_level().to_str())["model"]
    tokens = sorted(merged["vocab"], key=merged["vocab"].get)
    vocabulary = GgufVocabulary(
        kind="bpe",
        tokens=tokens,
        types=[1] * len(tokens),
        merges=[" ".join(pair) for pair in merged["merges"]],
        pre="gpt-2",
        chat_template=TEMPLATES["default"],
        named_templates={name: TEMPLATES[name] for name in ("tool_use", "rag")},
    )
    for name, content in export_tokenizer(vocabulary, name="m").items():
        (tmp_path / name).write_bytes(content)
    assert renders(tokenizer_files(tmp_path)) == renders(vocabulary)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == TEMPLATES


def test_without_a_default_there_is_an_error_that_names_them(tmp_path: Path) -> None:
    tiny.byte_level().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": LISTED[1:]}), encoding="utf-8"
    )
    tokenizer = open_tokenizer(tokenizer_files(tmp_path), name="m")
    assert tokenizer.has_chat_template
    assert tokenizer.render(ASKED, options=TemplateOptions(tools=TOOLS)) == json.dumps(TOOLS)
    with pytest.raises(UnsupportedPrompt, match="several \\(rag, tool_use\\) and none is the default"):
        tokenizer.render(ASKED)


def test_chat_templates_are_downloaded_with_the_tokenizer() -> None:
    named = "additional_chat_templates/rag.jinja"
    files = (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        named,
        "additional_chat_templates/README.md",
    )
    assert named in non_weight_files(files)
    assert named in hub_files("org/name", files)
    assert not [path for path in non_weight_files(files) if path.endswith(".md")]
