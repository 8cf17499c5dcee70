"""Property tests of every setting of every family with values of a wrong type or size: read, or refused."""

import json
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.domain.errors import CorruptFile, LitGPTError
from litgpt.domain.families import FAMILIES, parse_config
from litgpt.domain.formatting.bounded_text import MESSAGE_LIMIT
from litgpt.domain.tokenizer_source import TokenizerFiles
from tests.adapters import tiny_models
from tests.adapters import tiny_tokenizers as tiny
from tests.fuzz.damage import ODD


def config_of(family: str) -> dict[str, Any]:
    """Return all settings that transformers writes for a tiny model."""
    from transformers import AutoConfig

    settings = tiny_models.SIZES | tiny_models.FAMILIES[family]
    config: dict[str, Any] = AutoConfig.for_model(family, **settings).to_dict()
    return config


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() & tiny_models.FAMILIES.keys()))
def test_settings_of_a_wrong_type_or_size_are_read_or_refused(family: str) -> None:
    check(family, 4)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() & tiny_models.FAMILIES.keys()))
def test_every_wrong_value_of_every_setting_is_read_or_refused(family: str) -> None:
    check(family, len(ODD))


def check(family: str, values: int) -> None:
    config, random = config_of(family), Random(family)  # noqa: S311 - not for secrets
    parse_config("m", config)
    refused: list[str] = []
    for key in config:
        for value in random.sample(ODD, values):
            began = time.process_time()
            try:
                parse_config("m", {**config, key: value})
            except LitGPTError as error:
                refused.append(str(error))
            assert time.process_time() - began < 10
    assert refused
    for message in refused:
        message.encode()
        assert len(message) <= MESSAGE_LIMIT
        assert "config.json" in message or "m " in message


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer_config.json", {"bos_token": "\ud800"}),
        ("tokenizer_config.json", {"chat_template": "a\udfff"}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"0": {"content": "\ud800"}}}),
        ("special_tokens_map.json", {"eos_token": {"content": "\ud800"}}),
        ("added_tokens.json", {"\ud800": 300}),
        ("config.json", {"model_type": "\ud800"}),
    ],
)
def test_a_lone_surrogate_in_a_file_of_a_tokenizer_is_refused_by_name(
    tmp_path: Path, file: str, content: dict[str, object]
) -> None:
    (tmp_path / "tokenizer.json").write_text(tiny.byte_level().to_str())
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(CorruptFile, match=file) as caught:
        open_tokenizer(TokenizerFiles({path.name: path for path in tmp_path.iterdir()}), name="m")
    str(caught.value).encode()


def test_a_lone_surrogate_in_tokenizer_json_is_refused_by_name(tmp_path: Path) -> None:
    tree = json.loads(tiny.byte_level().to_str())
    tree["model"]["vocab"]["\ud800"] = 1000
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree))
    with pytest.raises(CorruptFile, match=r"tokenizer\.json"):
        open_tokenizer(TokenizerFiles({"tokenizer.json": tmp_path / "tokenizer.json"}), name="m")
