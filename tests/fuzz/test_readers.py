"""Property tests of damaged files: a value or a LitGPTError, within 10 s and 1 GB."""

import resource
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litgpt.domain.errors import LitGPTError
from tests.fuzz.damage import damaged_bytes, damaged_tree
from tests.fuzz.readers import QUANTIZED, Reader, readers, written

NAMES = [
    *("config", "weights", "index", "config of weights", "generation_config", "model_config", "lit_model"),
    *("prompt_style", "recipe", "ckpt", "sharded __0_0.distcp", "sharded meta.pt", "sharded .metadata"),
    *("gguf", "adapter_config", "tokenizer.json", "pieces", "tokenizer.model", "tokenizer_config"),
    *("vocab.json", "merges.txt", "vocab.txt", "tiktoken", "tekken", "chat_template"),
    *("special_tokens_map", "added_tokens", "json", "jsonl", "parquet", "txt", "chat"),
    *(f"{method} {part}" for part in ("config", "settings") for method in QUANTIZED),
    *("tools", "metrics"),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return readers(tmp_path_factory.mktemp("sound"))


def test_every_reader_is_here(sound: dict[str, Reader]) -> None:
    assert list(sound) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_file_is_read(sound: dict[str, Reader], tmp_path: Path, name: str) -> None:
    sound[name].use(_laid(sound[name], tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_read_or_refused(sound: dict[str, Reader], tmp_path: Path, name: str) -> None:
    _damage(sound[name], tmp_path, 30)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_file_damaged_in_many_ways_is_read_or_refused(
    sound: dict[str, Reader], tmp_path: Path, name: str
) -> None:
    _damage(sound[name], tmp_path, 1500)


def _laid(reader: Reader, folder: Path) -> Path:
    for file, raw in reader.beside.items():
        (folder / file).write_bytes(raw)
    (folder / reader.file).write_bytes(reader.raw)
    return folder / reader.file


def _damage(reader: Reader, folder: Path, examples: int) -> None:
    path = _laid(reader, folder)
    refused: list[str] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32))
    def read(seed: int) -> None:
        raw = _damaged(reader, Random(seed))  # noqa: S311 - not for secrets
        path.unlink()  # mapped tensors stay valid
        path.write_bytes(raw)
        began = time.process_time()
        try:
            reader.use(path)
        except LitGPTError as error:
            refused.append(str(error))
        assert time.process_time() - began < 10

    read()
    assert all(0 < len(value) < 3000 for value in refused)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # KB


def _damaged(reader: Reader, random: Random) -> bytes:
    if reader.tree is not None and random.random() < 0.75:
        try:
            return written(reader.file, damaged_tree(reader.tree, random))
        except (ValueError, TypeError):  # YAML and JSON cannot write every odd value
            pass
    return damaged_bytes(reader.raw, random)
