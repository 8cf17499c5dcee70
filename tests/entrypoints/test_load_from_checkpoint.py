"""Tests of `LightningModule.load_from_checkpoint`, which loads weights before Lightning calls `setup`."""

from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
import pytest
import torch

from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.training.errors import TrainerCheckpointMismatch
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.test_trainer_setup import Lit, batches, trainer

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


class Documented(Lit):
    """The documented module, with its hyperparameters in the checkpoint, and optionally an adapter."""

    def __init__(self, folder: str, trainer_ckpt_path: str | None = None, rank: int = 0) -> None:
        super().__init__(Path(folder), trainer_ckpt_path)
        self.save_hyperparameters()
        self.rank = rank

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.rank and not any(".lora." in name for name in self.state_dict()):
            self.llm.add_lora(self.rank)


def trained_checkpoint(folder: Path, module: L.LightningModule) -> Path:
    fits = trainer(folder, max_steps=2)
    fits.fit(module, batches())
    fits.save_checkpoint(folder / "trained.ckpt")
    return folder / "trained.ckpt"


@pytest.mark.parametrize("is_saved", [True, False])
@pytest.mark.parametrize("older", [False, True])
def test_load_from_checkpoint_has_the_trained_weights_and_fit_keeps_them(
    tmp_path: Path,
    is_saved: bool,  # noqa: FBT001
    older: bool,  # noqa: FBT001
) -> None:
    folder = str(tiny_folder("llama"))
    before = str(trained_checkpoint(tmp_path, Documented(folder))) if older else None
    (tmp_path / "new").mkdir()
    module = Documented(folder, before) if is_saved else Lit(Path(folder), before)
    path = trained_checkpoint(tmp_path / "new", module)
    arguments: dict[str, Any] = {} if is_saved else {"folder": folder, "trainer_ckpt_path": before}
    loaded = type(module).load_from_checkpoint(path, map_location="cpu", weights_only=True, **arguments)
    expected = module.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert loaded.llm.generate("on", max_new_tokens=3, top_k=1) == module.llm.generate(
        "on", max_new_tokens=3, top_k=1
    )
    trainer(tmp_path).validate(loaded, batches(), verbose=False)
    trainer(tmp_path, max_steps=0).fit(loaded, batches())
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_load_from_checkpoint_is_strict(tmp_path: Path) -> None:
    folder = str(tiny_folder("llama"))
    path = trained_checkpoint(tmp_path, Documented(folder))
    content = torch.load(path, weights_only=True)
    del content["state_dict"]["llm.lm_head.weight"]
    torch.save(content, path)
    with pytest.raises(RuntimeError, match=r"Missing key.*lm_head\.weight"):
        Documented.load_from_checkpoint(path, weights_only=True)
    with pytest.raises(RuntimeError, match=r"Missing key.*norm_q"):
        Documented.load_from_checkpoint(path, weights_only=True, folder=str(tiny_folder("qwen3")))


def test_load_from_checkpoint_has_the_adapter_once_it_is_added(tmp_path: Path) -> None:
    module = Documented(str(tiny_folder("llama")), rank=4)
    path = trained_checkpoint(tmp_path, module)
    expected = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert any(tensor.any() for name, tensor in expected.items() if name.endswith(".B"))
    loaded = Documented.load_from_checkpoint(path, weights_only=True)
    trainer(tmp_path, max_steps=0).fit(loaded, batches())
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    other = Documented.load_from_checkpoint(path, weights_only=True, rank=3)
    with pytest.raises(TrainerCheckpointMismatch, match="expected"):
        other.setup("fit")


class Placed(Lit):
    """A module that distributes its model for generation in its constructor."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.llm.distribute(accelerator="cpu", precision="32-true")


def test_a_model_that_was_placed_before_keeps_the_weights_in_trainer_setup(tmp_path: Path) -> None:
    folder = tiny_folder("llama")
    module = Placed(folder)
    path = trained_checkpoint(tmp_path, module)
    loaded = Placed.load_from_checkpoint(path, folder=folder, weights_only=True)
    with pytest.raises(UnsupportedOperation, match=r"distribute\(\) after load_state_dict\(\)"):
        loaded.llm.distribute(accelerator="cpu", precision="16-true")
    loaded.llm.trainer_setup()
    for name, tensor in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
