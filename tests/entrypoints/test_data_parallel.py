"""Tests of one module on Lightning's strategies: two processes equal one with both batches."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt import LLM
from tests.adapters.tiny_models import tiny_folder

SCRIPT = """
import json, logging, os, sys, warnings

warnings.simplefilter("ignore")
import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch.utils.data import DataLoader

from litgpt import LLM

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
torch.set_num_threads(1)
model, out, way, precision = sys.argv[1:]
ROWS = (torch.arange(96).view(8, 12) * 11) % 200


class Lit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.llm = LLM.load(model, distribute=None, quiet=True)
        self.losses = []

    def configure_model(self):
        self.llm.trainer_setup()
        self.llm.model.gradient_checkpointing = True
        if way == "fsdp":
            self.llm.shard(self.device_mesh["data_parallel"])

    def training_step(self, batch):
        loss = self.llm.loss(batch, batch)
        self.log("loss", loss, sync_dist=True)
        return loss

    def on_train_batch_end(self, *_):
        self.losses.append(float(self.trainer.callback_metrics["loss"]))

    def train_dataloader(self):
        return DataLoader(ROWS[self.global_rank :: devices], batch_size=4 // devices)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)


strategy = {
    "one": "auto",
    "ddp": DDPStrategy(process_group_backend="gloo"),
    "fsdp": ModelParallelStrategy(2, 1, save_distributed_checkpoint=False, process_group_backend="gloo"),
}[way]
devices = 1 if way == "one" else 2
trainer = L.Trainer(
    accelerator="cpu", devices=devices, strategy=strategy, precision=precision, max_epochs=3, logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    use_distributed_sampler=False,
)
module = Lit()
trainer.fit(module)
trainer.save_checkpoint(out + "/it.ckpt")
if trainer.is_global_zero:
    json.dump(module.losses, open(out + "/losses.json", "w"))
if way == "fsdp":
    for refused in (lambda: module.llm.generate("hello"), lambda: module.llm.save(out + "/saved")):
        try:
            refused()
        except RuntimeError as error:
            assert "litgpt convert" in str(error), error
        else:
            raise AssertionError("not refused")
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "train.py"
    path.write_text(SCRIPT)
    return path


def losses(script: Path, folder: Path, way: str, precision: str = "32-true") -> list[float]:
    folder.mkdir()
    command = [sys.executable, *map(str, (script, tiny_folder("llama"), folder, way, precision))]
    subprocess.run(command, check=True, timeout=300)
    losses: list[float] = json.loads((folder / "losses.json").read_text())
    return losses


@pytest.fixture(scope="module")
def alone(script: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("alone") / "one"
    return {"losses": losses(script, folder, "one"), "checkpoint": folder / "it.ckpt"}


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_does(
    script: Path, tmp_path: Path, alone: dict[str, Any], way: str
) -> None:
    assert losses(script, tmp_path / way, way) == pytest.approx(alone["losses"], rel=1e-4)
    assert alone["losses"][-1] < alone["losses"][0]
    first, two = (_weights(path) for path in (alone["checkpoint"], tmp_path / way / "it.ckpt"))
    torch.testing.assert_close(two, first, rtol=1e-3, atol=1e-4)


def _weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    llm.trainer_setup(checkpoint)
    return llm.state_dict()
