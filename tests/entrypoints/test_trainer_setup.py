"""Tests of an LLM in a LightningModule: trained weights survive every Trainer stage, and resume exactly."""

import weakref
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from litgpt import LLM
from litgpt.application.place_model import PlaceModel
from litgpt.domain.errors import (
    CorruptFile,
    InvalidArgument,
    LitGPTError,
    MissingFile,
    NotDistributed,
    UnsafeFile,
    UnsupportedOperation,
)
from litgpt.domain.training.errors import TrainerCheckpointMismatch
from tests.adapters.tiny_models import tiny_folder

IDS = torch.arange(24).view(2, 12) * 7 % 200
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings(
        "ignore:.*does not have many workers.*",
        "ignore:.*number of training batches.*",
        "ignore:.*no `val_dataloader`.*",
    ),
]


class Lit(L.LightningModule):
    """The documented module, with a parameter of its own."""

    def __init__(self, folder: Path, trainer_ckpt_path: str | Path | None = None) -> None:
        super().__init__()
        self.llm = LLM.load(folder, distribute=None, quiet=True)
        self.trainer_ckpt_path = trainer_ckpt_path
        self.own = nn.Parameter(torch.tensor(1.0))
        self.answers: list[str] = []

    def setup(self, stage: str) -> None:
        del stage
        self.llm.trainer_setup(trainer_ckpt=self.trainer_ckpt_path)

    def training_step(self, batch: Tensor) -> Tensor:
        _, loss = self.llm(input_ids=batch, target_ids=batch)
        scaled: Tensor = self.own * loss
        self.log("train_loss", scaled)
        return scaled

    def validation_step(self, batch: Tensor) -> None:
        _, loss = self.llm(input_ids=batch, target_ids=batch)
        self.log("validation_loss", loss)
        self.answers.append(self.llm.generate("hello", max_new_tokens=3, top_k=1))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def batches() -> DataLoader[Any]:
    return DataLoader(torch.stack([IDS[0], IDS[1]] * 2), batch_size=2)  # type: ignore[arg-type]


def trainer(folder: Path, **settings: Any) -> L.Trainer:
    quiet = dict.fromkeys(
        ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
    )
    return L.Trainer(
        **{"accelerator": "cpu", "default_root_dir": folder, "max_epochs": 1, **quiet, **settings}
    )


def logits_of(llm: LLM) -> Tensor:
    with torch.inference_mode():
        out = llm(IDS)
    assert isinstance(out, Tensor)
    return out


@pytest.fixture(scope="module")
def folder() -> Path:
    return tiny_folder("llama")


@pytest.fixture
def llm(folder: Path) -> LLM:
    return LLM.load(folder, distribute=None, quiet=True)


def test_the_first_setup_reads_the_weights_and_shows_the_parameters(llm: LLM, folder: Path) -> None:
    assert not list(llm.parameters())
    llm.trainer_setup()
    assert all(parameter.requires_grad for parameter in llm.parameters())
    assert {parameter.dtype for parameter in llm.parameters()} == {torch.float32}
    placed = LLM.load(folder, distribute=None, quiet=True)
    placed.distribute(accelerator="cpu", precision="32-true")
    assert torch.equal(logits_of(llm), logits_of(placed))


def test_calling_returns_logits_and_the_loss_of_unshifted_targets(llm: LLM) -> None:
    llm.trainer_setup()
    targets = IDS.masked_fill(torch.arange(12) < 4, -100)
    logits, loss = llm(IDS, targets)
    assert torch.equal(logits, llm(IDS))
    expected = functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(llm.loss(IDS, targets), expected)
    _, own = llm(IDS, targets, loss_fn=lambda ahead, then: ahead.sum() * 0 + then.shape[1])
    assert own == 11


def test_trained_weights_survive_every_stage_of_the_trainer(folder: Path, tmp_path: Path) -> None:
    module, fits = Lit(folder), trainer(tmp_path, max_epochs=2)
    fits.fit(module, batches(), batches())
    trained = logits_of(module.llm)
    assert not torch.allclose(trained, logits_of(_untrained(folder)), atol=1e-3)
    for stage in (fits.validate, fits.test):
        stage(module, batches(), verbose=False)
        assert torch.equal(logits_of(module.llm), trained)
    second = trainer(tmp_path, max_epochs=1)
    second.fit(module, batches())
    assert not torch.equal(logits_of(module.llm), trained)  # it went on …
    first = Lit(folder)
    trainer(tmp_path, max_epochs=1).fit(first, batches())
    assert not torch.allclose(
        logits_of(module.llm), logits_of(first.llm), atol=1e-3
    )  # … and not from the start
    assert len(set(module.answers)) > 1  # samples during validation come from the current weights


def test_early_stopping_leaves_the_weights_as_they_were(folder: Path, tmp_path: Path) -> None:
    module = Lit(folder)
    stopping = EarlyStopping("validation_loss", min_delta=1e6, patience=1)
    fits = trainer(tmp_path, max_epochs=9, callbacks=[stopping])
    fits.fit(module, batches(), batches())
    assert fits.current_epoch < 9
    trained = logits_of(module.llm)
    fits.validate(module, batches(), verbose=False)
    assert torch.equal(logits_of(module.llm), trained)


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_generating_between_steps_works_in_every_precision(
    folder: Path, tmp_path: Path, precision: str
) -> None:
    module = Lit(folder)
    trainer(tmp_path, precision=precision, max_epochs=2).fit(module, batches(), batches())
    expected = torch.bfloat16 if precision == "bf16-true" else torch.float32
    assert {parameter.dtype for parameter in module.llm.parameters()} == {expected}
    assert module.llm.generate("hello", max_new_tokens=3) is not None


def test_after_fit_the_documented_lines_run_and_need_not(folder: Path, tmp_path: Path) -> None:
    module = Lit(folder)
    trainer(tmp_path).fit(module, batches())
    without = module.llm.generate("hello world", top_k=1, max_new_tokens=5)
    assert module.llm.model is not None
    module.llm.model.to(module.llm.preprocessor.device)
    assert module.llm.generate("hello world", top_k=1, max_new_tokens=5) == without


def test_resuming_goes_where_the_first_run_would_have_gone(folder: Path, tmp_path: Path) -> None:
    whole, half, rest = Lit(folder), Lit(folder), Lit(folder)
    trainer(tmp_path, max_epochs=4).fit(whole, batches())
    first = trainer(tmp_path, max_epochs=2)
    first.fit(half, batches())
    first.save_checkpoint(tmp_path / "half.ckpt")
    trainer(tmp_path, max_epochs=4).fit(rest, batches(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    torch.testing.assert_close(logits_of(rest.llm), logits_of(whole.llm))
    torch.testing.assert_close(rest.own, whole.own)


def _untrained(folder: Path) -> LLM:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.trainer_setup()
    return llm


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    where = tmp_path_factory.mktemp("trained")
    module, fits = Lit(folder), trainer(where)
    fits.fit(module, batches())
    fits.save_checkpoint(where / "it.ckpt")
    return where / "it.ckpt", logits_of(module.llm)


def test_a_trainer_checkpoint_replaces_the_weights_once(
    folder: Path, tmp_path: Path, trained: tuple[Path, Tensor]
) -> None:
    path, logits = trained
    module = Lit(folder, path)
    module.setup("fit")
    assert torch.equal(logits_of(module.llm), logits)
    trainer(tmp_path).fit(module, batches())  # its setup passes the same checkpoint
    assert not torch.equal(logits_of(module.llm), logits)
    module.llm.trainer_setup()
    assert not torch.equal(logits_of(module.llm), logits)


def test_another_checkpoint_than_the_one_last_read_replaces_what_was_trained(
    llm: LLM, trained: tuple[Path, Tensor]
) -> None:
    path, logits = trained
    llm.trainer_setup()
    assert not torch.equal(logits_of(llm), logits)
    llm.trainer_setup(str(path))
    assert torch.equal(logits_of(llm), logits)


def test_a_state_dict_of_the_model_alone_is_a_trainer_checkpoint_too(llm: LLM, tmp_path: Path) -> None:
    llm.trainer_setup()
    state = {name: tensor * 0.5 for name, tensor in llm.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "it.ckpt")
    llm.trainer_setup(tmp_path / "it.ckpt")
    assert torch.equal(llm.state_dict()["lm_head.weight"], state["lm_head.weight"])


def test_a_checkpoint_of_another_model_is_refused_with_all_differences(llm: LLM, tmp_path: Path) -> None:
    llm.trainer_setup()
    before = logits_of(llm)
    state = {f"llm.{name}": tensor for name, tensor in llm.state_dict().items()}
    del state["llm.transformer.h.1.norm_1.weight"]
    state["llm.transformer.h.9.norm_1.weight"] = torch.zeros(3)
    state["llm.transformer.ln_f.weight"] = torch.zeros(3)
    torch.save({"state_dict": state}, tmp_path / "it.ckpt")
    with pytest.raises(TrainerCheckpointMismatch, match="is not a checkpoint of") as caught:
        llm.trainer_setup(tmp_path / "it.ckpt")
    assert caught.value.missing == ["transformer.h.1.norm_1.weight"]
    assert caught.value.unexpected == ["llm.transformer.h.9.norm_1.weight"]
    assert list(caught.value.shape_mismatches) == ["transformer.ln_f.weight is [3], expected [48]"]
    assert torch.equal(logits_of(llm), before)


class Attack:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("attacked",))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, MissingFile),
        (b"no checkpoint", CorruptFile),
        ({"weights": {}}, CorruptFile),
        ({"state_dict": {}, "hyper_parameters": Attack()}, UnsafeFile),
    ],
    ids=["missing", "no archive", "no state_dict", "unsafe pickle"],
)
def test_invalid_checkpoints_are_refused(
    llm: LLM, tmp_path: Path, content: object, error: type[LitGPTError], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "it.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(error, match=r"it\.ckpt"):
        llm.trainer_setup(path)
    assert llm.model is None
    assert "attacked" not in capsys.readouterr().out


def test_distribute_after_training_is_refused_and_saving_keeps_the_weights(
    llm: LLM, folder: Path, tmp_path: Path
) -> None:
    llm.trainer_setup()
    with torch.no_grad():
        for parameter in llm.parameters():
            parameter.mul_(1.25)
    with pytest.raises(UnsupportedOperation, match="what was trained would be lost"):
        llm.distribute()
    llm.save(tmp_path)
    reloaded = LLM.load(tmp_path, distribute=None, quiet=True)
    reloaded.distribute(accelerator="cpu", precision="32-true")
    torch.testing.assert_close(logits_of(reloaded), logits_of(llm))
    llm.close()
    llm.distribute(accelerator="cpu", precision="32-true")  # that was meant
    assert torch.equal(logits_of(llm), logits_of(_untrained(folder)))


def test_a_model_that_was_placed_to_generate_can_be_trained(folder: Path) -> None:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="bf16-true")
    llm.trainer_setup()
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in llm.parameters())


def test_before_setup_nothing_is_trainable_and_targets_are_checked(llm: LLM) -> None:
    with pytest.raises(NotDistributed, match="trainer_setup"):
        llm.loss(IDS, IDS)
    llm.trainer_setup()
    for call in (llm, llm.loss):
        with pytest.raises(InvalidArgument, match="not shifted"):
            call(IDS, IDS[:, 1:])
        with pytest.raises(InvalidArgument, match="at least one after the first token"):
            call(IDS, torch.full_like(IDS, -100))


def test_more_tokens_than_the_context_holds_are_refused(llm: LLM) -> None:
    llm.trainer_setup()
    whole, longer = torch.ones(1, 256, dtype=torch.int64), torch.ones(1, 257, dtype=torch.int64)
    assert llm(whole).shape == (1, 256, 288)
    assert llm.loss(whole, whole).isfinite()
    for call in (lambda: llm(longer), lambda: llm(longer, longer), lambda: llm.loss(longer, longer)):
        message = r"at most 256 tokens long, the model's context length, not 257"
        with pytest.raises(InvalidArgument, match=message):
            call()


def test_programs_written_for_litgpt_find_the_network_inside() -> None:
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    llm.trainer_setup()
    assert llm.model is not None
    assert llm.model._forward_module is llm.model
    assert not [name for name in llm.state_dict() if "_forward_module" in name]


def test_trainer_setup_frees_the_network_of_distribute_before_it_builds_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    llm = LLM.load(tiny_folder("llama"), quiet=True)
    before, build = weakref.ref(llm.model), PlaceModel.for_training
    alive: list[object] = []

    def watched(*arguments: Any, **options: Any) -> Any:
        alive.append(before())
        return build(*arguments, **options)

    monkeypatch.setattr(PlaceModel, "for_training", watched)
    llm.trainer_setup()
    assert alive == [None]
