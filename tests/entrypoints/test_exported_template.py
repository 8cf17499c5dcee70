"""Tests of a saved model's chat template: the prompt style of its training."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, GenerationConfig

from litgpt import LLM
from litgpt.cli.main import app
from litgpt.domain.chat.messages import parse_messages
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.training_runs import trained

TALK: Any = [{"role": "user", "content": "Name a bird."}]
OWN = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
END = 1


def base(folder: Path, *, template: str | None = None) -> Path:
    folder.mkdir()
    for path in tiny_folder("llama").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>"}
    if template is not None:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 7}))
    return folder


def rendered(folder: Path, messages: Any = TALK) -> str:
    text = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    return str(text)


def test_a_fine_tuned_base_model_is_saved_with_its_training_template(tmp_path: Path) -> None:
    done = trained(tmp_path, model=str(base(tmp_path / "base")), max_steps=1)
    assert done.saved is not None
    llm = LLM.load(done.saved, distribute=None, quiet=True)
    assert llm.prompt_style is not None
    assert llm.prompt_style.name == "alpaca"
    assert rendered(done.saved) == llm.prompt_style.render(parse_messages(TALK))
    example = AutoTokenizer.from_pretrained(done.saved).apply_chat_template(
        [*TALK, {"role": "assistant", "content": "Crane"}], tokenize=False
    )
    assert str(example).endswith("### Response:\nCrane<|end|>")
    assert GenerationConfig.from_pretrained(done.saved).eos_token_id == [7, END]
    assert '"chat_template"' in (done.saved / "tokenizer_config.json").read_text()


def test_an_adapter_and_its_merged_model_have_the_training_template(tmp_path: Path) -> None:
    done = trained(
        tmp_path,
        model=str(base(tmp_path / "base", template=OWN)),
        max_steps=1,
        method="lora",
        prompt_style="gemma",
    )
    assert done.saved is not None
    expected = "<start_of_turn>user\nName a bird.<end_of_turn>\n<start_of_turn>model\n"
    assert rendered(done.saved) == expected
    with pytest.raises(SystemExit) as ended:
        app(["convert", str(done.saved), str(tmp_path / "whole"), "--quiet"])
    assert not ended.value.code
    assert rendered(tmp_path / "whole") == expected
    assert GenerationConfig.from_pretrained(tmp_path / "whole").eos_token_id == [7, END]
    style = LLM.load(tmp_path / "whole", distribute=None, quiet=True).prompt_style
    assert style is not None
    assert style.name == "gemma"


def test_a_model_that_was_trained_with_its_own_template_keeps_it(tmp_path: Path) -> None:
    done = trained(tmp_path, model=str(base(tmp_path / "base", template=OWN)), max_steps=1)
    assert done.saved is not None
    assert rendered(done.saved) == "Name a bird.<|end|>A:"
    assert not (done.saved / "prompt_style.yaml").exists()
    assert GenerationConfig.from_pretrained(done.saved).eos_token_id == [7, END]


def test_a_style_that_is_named_when_saving_replaces_the_template(tmp_path: Path) -> None:
    (base(tmp_path / "base", template=OWN) / "chat_template.json").write_text(
        json.dumps({"chat_template": OWN})
    )
    llm = LLM.load(tmp_path / "base", distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    llm.save(tmp_path / "a", prompt_style="chatml")
    assert rendered(tmp_path / "a").startswith("<|im_start|>user\nName")
    assert not (tmp_path / "a" / "chat_template.json").exists()
    llm.save(tmp_path / "b")
    assert rendered(tmp_path / "b") == "Name a bird.<|end|>A:"
    assert GenerationConfig.from_pretrained(tmp_path / "b").eos_token_id == [7, END]


def test_a_base_model_gets_no_template(tmp_path: Path) -> None:
    llm = LLM.load(base(tmp_path / "base"), distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    llm.save(tmp_path / "a")
    assert AutoTokenizer.from_pretrained(tmp_path / "a").chat_template is None
    assert GenerationConfig.from_pretrained(tmp_path / "a").eos_token_id == 7
