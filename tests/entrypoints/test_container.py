"""Tests of the container: a test, a user or a package can replace backends."""

import subprocess
import sys
from pathlib import Path

from dependency_injector import providers

from litgpt.container import container
from litgpt.testing import (
    ByteTokenizer,
    MemoryCheckpoint,
    MemoryStore,
    MemoryStrategy,
    MemoryTensor,
    ScriptedProfiler,
)
from tests.contracts.distribution_strategy import CONFIG, shapes

PACKAGE = """
from litgpt.testing import MemoryCheckpoint, MemoryStore

def store():
    return MemoryStore({"from-a-package": MemoryCheckpoint({"model_type": "zebra"})})
"""
PROGRAM = """
from litgpt.container import container
from litgpt.domain.errors import UnsupportedModel
from litgpt.domain.reference import ModelReference
try:
    container.load_model()(ModelReference("from-a-package", offline=True))
except UnsupportedModel as error:
    assert "zebra" in str(error)
else:
    raise SystemExit("the package's store was not asked")
"""


def test_an_llm_runs_on_fakes_of_all_ports() -> None:
    from litgpt import LLM

    weights = {name: MemoryTensor(shape) for name, shape in shapes().items()}
    store = MemoryStore({"mine": MemoryCheckpoint(CONFIG, weights)})
    with (
        container.store.override(providers.Object(store)),
        container.open_tokenizer.override(providers.Object(lambda *_, **__: ByteTokenizer())),
        container.strategy.override(providers.Object(MemoryStrategy(script=(*b"Hi", 257)))),
        container.profiler.override(providers.Object(ScriptedProfiler())),
    ):
        llm = LLM.load("mine", quiet=True)
        assert llm.generate("Hello") == "Hi"
        assert llm.benchmark(prompt="Hello")[1]["Tokens generated"] == [3]


def test_the_wiring_is_undone_after_an_override() -> None:
    before = type(container.store())
    with container.store.override(providers.Object(MemoryStore())):
        assert isinstance(container.store(), MemoryStore)
    assert type(container.store()) is before


def test_a_package_adds_a_store_through_an_entry_point(tmp_path: Path) -> None:
    (tmp_path / "more_models.py").write_text(PACKAGE)
    metadata = tmp_path / "more_models-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: more-models\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[litgpt.model_stores]\nmore = more_models:store\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
