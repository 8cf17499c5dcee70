"""Tests of generating in another thread during training: both are correct, or one raises."""

import threading
from collections.abc import Callable
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from litgpt import LLM
from litgpt.domain.generation.errors import WeightsReplaced
from tests.adapters.tiny_models import tiny_folder

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*isinstance.treespec"),
]

OPTIONS: dict[str, Any] = {"max_new_tokens": 6, "top_k": 1}
BATCHES = 12
LONG = 120.0


class Lit(L.LightningModule):
    """The documented module, with an adapter that has dropout."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
        self.llm.trainer_setup()
        torch.manual_seed(0)
        self.llm.add_lora(rank=4, dropout=0.5, targets="all-linear")
        self.rate, self.losses = rate, list[float]()
        self.stepped: Callable[[], object] = lambda: None

    def training_step(self, batch: Tensor) -> Tensor:
        _, loss = self.llm(input_ids=batch, target_ids=batch)
        self.losses.append(float(loss.detach()))
        return loss  # type: ignore[no-any-return]

    def on_train_batch_end(self, *_: Any) -> None:
        self.stepped()

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(
            [parameter for parameter in self.parameters() if parameter.requires_grad], lr=self.rate
        )


def fit(module: Lit) -> None:
    ids: Any = torch.randint(3, 250, (2 * BATCHES, 24), generator=torch.Generator().manual_seed(1))
    off = ("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger")
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, **dict.fromkeys(off, False))  # type: ignore[arg-type]
    torch.manual_seed(2)
    trainer.fit(module, DataLoader(ids, batch_size=2))


def beside(module: Lit) -> list[str | Exception]:
    """Train, and return the answers of another thread; after each step it starts at least one."""
    actual, over, started = list[str | Exception](), threading.Event(), threading.Semaphore(0)

    def answers() -> None:
        while not over.is_set():
            started.release()
            try:
                actual.append(module.llm.generate("hello", **OPTIONS))
            except WeightsReplaced as error:
                actual.append(error)

    module.stepped = lambda: started.acquire(timeout=LONG)
    thread = threading.Thread(target=answers)
    thread.start()
    try:
        fit(module)
    finally:
        over.set()
        thread.join(LONG)
    return actual


def test_answers_during_training_are_correct_and_do_not_affect_it() -> None:
    alone, module = Lit(rate=0.0), Lit(rate=0.0)
    expected = alone.llm.generate("hello", **OPTIONS)
    fit(alone)
    actual = beside(module)
    assert module.losses == alone.losses  # with the same dropout
    assert len(set(module.losses)) == BATCHES
    answers = {value for value in actual if isinstance(value, str)}
    assert answers <= {expected}
    assert module.llm.generate("hello", **OPTIONS) == expected


def test_training_during_generation_gives_the_same_weights() -> None:
    alone, module = Lit(rate=1e-2), Lit(rate=1e-2)
    fit(alone)
    actual = beside(module)
    assert len(actual) >= BATCHES
    assert module.losses == alone.losses
    for name, tensor in alone.llm.state_dict().items():
        assert torch.equal(tensor, module.llm.state_dict()[name]), name


def test_an_optimizer_step_during_an_answer_raises_and_the_next_answer_is_correct() -> None:
    module = Lit(rate=1e-1)
    optimizer = module.configure_optimizers()
    stream = module.llm.generate("hello", stream=True, **OPTIONS)
    next(stream)

    def step() -> None:
        ids = torch.arange(3, 27)[None]
        module.llm.loss(ids, ids).backward()
        optimizer.step()

    thread = threading.Thread(target=step)
    thread.start()
    thread.join(LONG)
    with pytest.raises(WeightsReplaced, match="between steps"):
        list(stream)
    once = module.llm.generate("hello", **OPTIONS)
    assert "".join(module.llm.generate("hello", stream=True, **OPTIONS)) == once


def test_a_chat_continues_with_the_weights_of_an_optimizer_step() -> None:
    module = Lit(rate=1e-1)
    chat = module.llm.chat(apply_chat_template=False, **OPTIONS)
    chat.send("hello")
    chat.send("more")
    optimizer = module.configure_optimizers()
    ids = torch.arange(3, 27)[None]
    module.llm.loss(ids, ids).backward()
    optimizer.step()
    fresh = chat.branch()
    fresh.close()  # without its cache
    assert chat.send("and more") == fresh.send("and more")
