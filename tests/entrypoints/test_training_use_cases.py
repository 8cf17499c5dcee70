"""Tests of the use cases of python-api.md, verbatim, in a Python process without the tests' modules.

A loopback Hub replaces the real one, a small repository stands for a Pythia, and the CPU replaces CUDA.
Otherwise unchanged, except for Pythia 14M instead of 160M: random weights have the true size.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pyarrow as pa
import pytest
import torch
from dependency_injector import providers
from pyarrow import parquet

from litgpt import LLM
from litgpt.adapters.hub.datasets import HubDatasets
from litgpt.container import container
from litgpt.data import Alpaca2k
from tests.adapters.loopback_hub import LoopbackHub
from tests.adapters.recording import LIGHTNINGS_OWN, SaveEach, trainer
from tests.adapters.tiny_models import save_byte_tokenizer, tiny_folder, tiny_model
from tests.entrypoints.documented_training import (
    FROM_A_DOWNLOADED_MODEL,
    FROM_A_SAVED_FOLDER,
    FROM_A_TRAINER_CHECKPOINT,
    FROM_RANDOM_WEIGHTS,
    MODULE,
)

EACH_STEP = ("[optimizer], [scheduler]", '[optimizer], [{"scheduler": scheduler, "interval": "step"}]')
"""As written, the scheduler steps once an epoch and begins at 0: a single epoch learns nothing."""

KNOWN = ("`isinstance(treespec, LeafSpec)`", "The number of training batches", "does not have many workers")
"""How the warnings begin, or go on, that are Lightning's own or the example's."""

NOTES = """
import json
notes = []

def note():
    state = {name: float(one.double().sum()) for name, one in lit_model.llm.state_dict().items()}
    loss = {name: float(one) for name, one in trainer.callback_metrics.items()}
    said = lit_model.llm.generate("hello world", top_k=1, return_as_token_ids=True).tolist()
    notes.append({**loss, "state": state, "said": said, "read": str(lit_model.trainer_ckpt_path)})
    with open("notes.json", "w") as file:
        json.dump(notes, file)
"""


@attrs.frozen
class Run:
    """The result of a script.

    Attributes:
        folder: Its working directory.
        notes: The record after each use case.
        stderr: Its stderr.
        requests: Its requests to the Hub.
    """

    folder: Path
    notes: list[dict[str, Any]]
    stderr: str
    requests: list[str]


def serve(root: Path, *, records: int) -> Path:
    """Write the Hub's repositories, and return its folder."""
    repository = root / "EleutherAI" / "pythia-14m"
    tiny_model("gpt_neox", max_position_embeddings=512).save_pretrained(repository)
    save_byte_tokenizer(repository)
    serve_alpaca(root, records=records)
    return root


def serve_alpaca(root: Path, *, records: int) -> None:
    """Write a smaller Alpaca2k."""
    rows = [
        {"instruction": f"Say {number}.", "input": "", "output": f"{number}!", "text": "…"}
        for number in range(records)
    ]
    data = root / "datasets" / "mhenrichsen" / "alpaca_2k_test"
    data.mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(rows), data / "alpaca_2000.parquet")


def run(folder: Path, *cases: str, records: int, replaced: tuple[str, str] | None = None) -> Run:
    """Run use cases one after the other, in an empty folder, with an empty cache."""
    code = MODULE + NOTES + "".join(f"{case}\nnote()\n" for case in cases)
    code = code.replace('accelerator="cuda"', 'accelerator="cpu"').replace("pythia-160m", "pythia-14m")
    if replaced is not None:
        assert code.count(replaced[0]) == 1
        code = code.replace(*replaced)
    (folder / "work").mkdir()
    (folder / "work" / "script.py").write_text(code)
    with LoopbackHub(serve(folder / "hub", records=records)) as hub:
        settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-W", "default", "script.py"],
            cwd=folder / "work",
            env={**os.environ, **settings, "HF_HUB_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    notes = json.loads((folder / "work" / "notes.json").read_text())
    return Run(folder / "work", notes, done.stderr, hub.requests)


@pytest.fixture(scope="module")
def as_written(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run all four, each after the previous one."""
    cases = (FROM_RANDOM_WEIGHTS, FROM_A_DOWNLOADED_MODEL, FROM_A_TRAINER_CHECKPOINT, FROM_A_SAVED_FOLDER)
    return run(tmp_path_factory.mktemp("as-written"), *cases, records=40)


@pytest.fixture(scope="module")
def learning(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the last three with a learning rate that rises from step to step."""
    cases = (FROM_A_DOWNLOADED_MODEL, FROM_A_TRAINER_CHECKPOINT, FROM_A_SAVED_FOLDER)
    return run(tmp_path_factory.mktemp("learning"), *cases, records=200, replaced=EACH_STEP)


def test_all_four_run_as_they_are_written_and_warn_of_nothing(as_written: Run, learning: Run) -> None:
    assert len(as_written.notes) == 4
    for done in (as_written, learning):
        assert all(torch.isfinite(torch.tensor(note["train_loss"])) for note in done.notes)
        warnings = re.findall(r"^\S+\.py:\d+: .*$", done.stderr, re.MULTILINE)
        assert [warning for warning in warnings if not any(known in warning for known in KNOWN)] == []
        assert "Traceback" not in done.stderr


def test_a_model_saved_with_random_weights_has_its_tokenizer(as_written: Run) -> None:
    folder = as_written.folder / "pythia-14m-random-weights"
    assert {"tokenizer.json", "config.json", "model.safetensors"} <= {path.name for path in folder.iterdir()}
    with LLM.load(folder, distribute=None, quiet=True) as llm:
        assert llm.tokenizer.decode(llm.tokenizer.encode("hello")) == "hello"
        assert llm.config.n_embd == 128
    assert as_written.notes[0]["train_loss"] > 10  # near the logarithm of 50,304


def test_each_use_case_starts_from_the_previous_weights(learning: Run, as_written: Run) -> None:
    untrained = as_written.notes[1]["validation_loss"]  # of other numbers; its learning rate was 0
    losses = [note["validation_loss"] for note in learning.notes]
    assert untrained > losses[0] > losses[1] > losses[2]
    assert untrained - losses[0] > 0.1


def test_the_latest_checkpoint_is_the_one_that_is_read(learning: Run, as_written: Run) -> None:
    assert Path(learning.notes[1]["read"]).parts[:2] == ("lightning_logs", "version_0")
    assert Path(as_written.notes[2]["read"]).parts[:2] == ("lightning_logs", "version_1")
    for before, after in ((1, 2), (2, 3)):  # with a learning rate of 0, the weights stay as loaded
        assert as_written.notes[after]["state"] == as_written.notes[before]["state"]


def test_a_manually_saved_model_is_self_contained_and_answers_the_same(learning: Run) -> None:
    with LLM.load(learning.folder / "finetuned_checkpoint", distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu", precision="bf16-true")
        answer = llm.generate("hello world", top_k=1, return_as_token_ids=True)
        assert isinstance(answer, torch.Tensor)
        assert answer.tolist() == learning.notes[1]["said"]
        state = {name: float(tensor.double().sum()) for name, tensor in llm.state_dict().items()}
        assert state == learning.notes[1]["state"]


def test_the_model_and_the_data_are_downloaded_once(as_written: Run) -> None:
    for name in ("model.safetensors", "alpaca_2000.parquet"):
        assert (
            len([value for value in as_written.requests if value.startswith("GET") and value.endswith(name)])
            <= 2
        )


@pytest.fixture
def alpaca(tmp_path: Path) -> Iterator[None]:
    """Serve Alpaca2k's file."""
    serve_alpaca(tmp_path / "hub", records=50)
    with LoopbackHub(tmp_path / "hub") as hub:
        fetch = HubDatasets(endpoint=hub.endpoint, cache_dir=tmp_path / "cache")
        with container.fetch_dataset.override(providers.Object(fetch)):
            yield


@LIGHTNINGS_OWN
@pytest.mark.filterwarnings("ignore:.*number of training batches.*")
@pytest.mark.usefixtures("alpaca", "one_thread")
def test_a_run_aborted_within_an_epoch_resumes_with_the_same_losses(tmp_path: Path) -> None:
    def fit(*callbacks: Any, ckpt_path: Path | None = None) -> tuple[list[float], dict[str, torch.Tensor]]:
        module = recorded()
        data = Alpaca2k()
        data.connect(module.llm.tokenizer, batch_size=8, max_seq_length=128)
        trainer(tmp_path, *callbacks, max_epochs=2).fit(module, data, ckpt_path=ckpt_path)
        return module.losses, module.llm.state_dict()

    saving = SaveEach(tmp_path)
    whole, weights = fit(saving)
    assert len(whole) == 12
    for done in (2, 8):  # within the first epoch, within the second
        rest, second = fit(ckpt_path=saving.saved[done - 1])
        torch.testing.assert_close(rest, whole[done:])
        torch.testing.assert_close(second, weights)
    assert whole[-1] < whole[0]


def recorded() -> Any:
    """Return the documented module around a tiny Llama; it records its losses."""
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(MODULE.replace(*EACH_STEP), namespace)  # noqa: S102 - it is the documentation that is tested
    module = namespace["LitLLM"](tiny_folder("llama"))
    step, module.losses = module.training_step, []

    def training_step(batch: Any) -> Any:
        loss = step(batch)
        module.losses.append(loss.item())
        return loss

    module.training_step = training_step
    return module
