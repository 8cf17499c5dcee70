"""A LightningModule without training that records its batches."""

from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
import pytest
import torch
from lightning.pytorch.callbacks import Callback

LIGHTNINGS_OWN = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
"""What Lightning 2.6 does that torch 2.13 warns about."""

Batch = dict[str, torch.Tensor]


class Recorder(L.LightningModule):
    """Records the ids of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.fed: list[list[list[int]]] = []
        self.validated: list[list[list[int]]] = []

    def training_step(self, batch: Batch) -> torch.Tensor:
        self.fed.append(batch["input_ids"].tolist())
        return self.weight.sum()

    def validation_step(self, batch: Batch) -> None:
        self.validated.append(batch["input_ids"].tolist())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveEach(Callback):
    """Saves a checkpoint after every batch, and records the number of batches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved: list[Path] = []

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        path = self.folder / f"{len(self.saved) + 1}.ckpt"
        trainer.save_checkpoint(path)
        self.saved.append(path)


def trainer(folder: Path, *callbacks: Callback, **options: Any) -> L.Trainer:
    """Return a trainer on the CPU that writes no files."""
    return L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **{"devices": 1, "max_epochs": 1, **options},
    )
