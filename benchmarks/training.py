"""Full fine-tuning beside transformers' Trainer and a plain torch loop: tokens per second, memory and losses.

    python benchmarks/training.py [MODEL] [--precision 32-true] [--rounds 3] [--batch 4] [--length 256]

Every peer gets the same weights (a folder that this library saves), the same batches in the same order, AdamW
with the same settings, and a process of its own; they take turns. The first two steps are not counted. Runs
in the development environment, which has transformers.
"""

import argparse
import datetime as dt
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

from machine import describe
from measuring import peak_bytes

PEERS = ("litgpt", "transformers", "torch")
WARM_UP = 2
LEARNING_RATE = 1e-5


def batches(folder: Path, said: argparse.Namespace) -> Iterator[Any]:
    """Yield batches of ids (B, T) of a real text."""
    import torch
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = said.text.read_text(encoding="utf-8")
    ids = torch.tensor(tokenizer.encode(text).ids)
    needed = said.batch * said.length * said.steps
    ids = ids.repeat(-(-needed // len(ids)))[:needed]
    yield from ids.view(said.steps, said.batch, said.length)


class Clock:
    """Hears of every step and its loss.

    Args:
        tokens: How many a step learns from.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens, self.losses = tokens, list[float]()
        self.times = [perf_counter()]

    def step(self, loss: float) -> None:
        """Take note that a step is done."""
        self.losses.append(loss)
        self.times.append(perf_counter())

    def found(self) -> dict[str, Any]:
        """Return the speed, the most memory and the losses."""
        seconds = self.times[-1] - self.times[WARM_UP]
        counted = len(self.losses) - WARM_UP
        return {
            "tokens_per_s": counted * self.tokens / seconds,
            "peak_bytes": peak_bytes(),
            "losses": self.losses,
        }


def train_litgpt(folder: Path, said: argparse.Namespace, clock: Clock) -> None:
    """Train as docs/training.md shows: an LLM in a LightningModule."""
    import lightning as L  # noqa: N812 - as everybody calls it
    import torch
    from torch.utils.data import DataLoader

    from litgpt import LLM

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.llm = LLM.load(folder, distribute=None, quiet=True)

        def configure_model(self) -> None:
            self.llm.trainer_setup()

        def training_step(self, batch: torch.Tensor) -> torch.Tensor:
            return self.llm.loss(batch, batch)

        def on_train_batch_end(self, outputs: Any, *_: Any) -> None:
            clock.step(float(outputs["loss"]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)

        def optimizer_step(self, *args: Any, **how: Any) -> None:
            super().optimizer_step(*args, **how)
            args[
                2
            ].zero_grad()  # as `litgpt finetune` does: Lightning keeps gradients through the next forward

    quiet = dict.fromkeys(
        ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False
    )
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, precision=said.precision, **quiet)  # type: ignore[arg-type]
    loader: Any = DataLoader(list(batches(folder, said)), batch_size=None)  # type: ignore[arg-type]
    trainer.fit(Module(), loader)


def train_transformers(folder: Path, said: argparse.Namespace, clock: Clock) -> None:
    """Train with transformers' Trainer."""
    import torch
    from torch.utils.data import DataLoader
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    class Told(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            del args, state, control
            if "loss" in logs:
                clock.step(logs["loss"])

    class InOrder(Trainer):
        def get_train_dataloader(self) -> DataLoader[Any]:
            rows = [{"input_ids": row, "labels": row} for batch in batches(folder, said) for row in batch]
            return DataLoader(rows, batch_size=said.batch, collate_fn=self.data_collator)  # type: ignore[arg-type]

    dtype = torch.bfloat16 if said.precision == "bf16-true" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    settings: dict[str, Any] = {"disable_tqdm": True, "report_to": "none", "save_strategy": "no"}
    how = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        use_cpu=True,
        bf16=said.precision == "bf16-mixed",
        per_device_train_batch_size=said.batch,
        max_steps=said.steps,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        logging_steps=1,
        optim="adamw_torch_fused",
        **settings,
    )
    InOrder(model=model, args=how, train_dataset=[0], callbacks=[Told()]).train()


def train_torch(folder: Path, said: argparse.Namespace, clock: Clock) -> None:
    """Train transformers' model in the shortest loop there is."""
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if said.precision == "bf16-true" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    for batch in batches(folder, said):
        with torch.autocast("cpu", torch.bfloat16, enabled=said.precision == "bf16-mixed"):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        clock.step(loss.item())


def work(peer: str, folder: Path, said: argparse.Namespace) -> None:
    """Train with one peer, and print what was found as a line of JSON."""
    import torch

    torch.set_num_threads(said.threads)
    torch.manual_seed(0)
    clock = Clock(said.batch * said.length)
    {"litgpt": train_litgpt, "transformers": train_transformers, "torch": train_torch}[peer](
        folder, said, clock
    )
    print(json.dumps(clock.found()))


def measure(peer: str, folder: Path, arguments: list[str]) -> dict[str, Any]:
    """Run a peer in a process of its own."""
    command = [sys.executable, __file__, "--worker", peer, "--folder", str(folder), *arguments]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def main() -> None:
    """Measure each peer in turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-true", "bf16-mixed"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--text", type=Path, default=Path(__file__).parents[1] / "docs" / "training.md")
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.worker:
        return work(said.worker, said.folder, said)
    from litgpt import LLM

    found: dict[str, list[dict[str, Any]]] = {peer: [] for peer in PEERS}
    with tempfile.TemporaryDirectory() as folder:
        with LLM.load(said.model, distribute=None, quiet=True) as llm:
            llm.distribute(accelerator="cpu", precision="32-true")
            llm.save(folder)
        for _ in range(said.rounds):
            for peer in PEERS:
                found[peer].append(measure(peer, Path(folder), sys.argv[1:]))
    report(said, found)
    return None


def report(said: argparse.Namespace, found: dict[str, list[dict[str, Any]]]) -> None:
    """Print a table, with ratios that are medians of those within a round."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "lightning"))
    print(f"{dt.datetime.now(tz=dt.UTC).date()}. {describe()}; {versions}.")
    step = f"{said.model}, {said.precision}, {said.batch} x {said.length} tokens a step"
    print(f"{step}, {said.threads} threads; medians of {said.rounds} round(s).\n")
    print("| | tokens/s | litgpt's, x | peak memory, MB | litgpt's, x | largest difference of a loss |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    actual = found["litgpt"]
    for peer, rounds in found.items():
        speed, memory = (
            statistics.median(one[key] for one in rounds) for key in ("tokens_per_s", "peak_bytes")
        )
        faster = statistics.median(
            a["tokens_per_s"] / b["tokens_per_s"] for a, b in zip(actual, rounds, strict=True)
        )
        smaller = statistics.median(
            a["peak_bytes"] / b["peak_bytes"] for a, b in zip(actual, rounds, strict=True)
        )
        apart = max(abs(a - b) for a, b in zip(actual[0]["losses"], rounds[0]["losses"], strict=True))
        print(f"| {peer} | {speed:.1f} | {faster:.2f} | {memory / 1e6:.0f} | {smaller:.2f} | {apart:.1e} |")


if __name__ == "__main__":
    main()
