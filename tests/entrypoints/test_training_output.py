"""Tests of the output of `litgpt finetune` as a process: log lines, progress bars, --quiet."""

import io
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import attrs
import pytest
import torch

from litgpt import LLM
from litgpt.cli.main import run
from litgpt.domain.formatting.units import format_duration
from litgpt.domain.memory.training_estimate import GAPS, TRAINING_PROGRAM, training_footprint
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.small_runs import examples, losses, rows, validated

pty = pytest.importorskip("pty")  # not on Windows
termios = pytest.importorskip("termios")

STEPS, ACCUMULATE = 5, 2
NUMBER = r"([\d,.]+)"
START = re.compile(
    rf"Training (\S+) \(LoRA, rank 4\): {NUMBER} of {NUMBER} parameters trained \({NUMBER}%\), "
    rf"{NUMBER} examples with {NUMBER} tokens, {NUMBER} steps, on cpu in 32-true, about {NUMBER} MB of memory"
)
STEP = re.compile(
    rf"Training: step (\d+) of (\d+), loss {NUMBER}(?:, validation loss {NUMBER})?, "
    rf"learning rate (\S+), {NUMBER} tokens/s(?:, (\S.* left))?"
)


@attrs.frozen
class Ran:
    """A run of the command.

    Attributes:
        out: The output folder.
        answer: Its stdout.
        stderr: Its stderr.
        peak: Peak memory in bytes.
    """

    out: Path
    answer: str
    stderr: str
    peak: int = 0

    @property
    def table(self) -> dict[str, str]:
        lines = self.stderr.splitlines()
        last = lines[next(at for at, line in enumerate(lines) if line.startswith("steps  ")) :]
        return dict(re.split(r" {3,}", line.strip(), maxsplit=1) for line in last if line.strip())


def command(folder: Path) -> tuple[Sequence[str], dict[str, str]]:
    """Return the command of a small run, and its environment."""
    data = examples(folder / "x.jsonl")
    options = f"--max-steps {STEPS} --accumulate {ACCUMULATE} --eval-every 3 --lora-rank 4 --accelerator cpu"
    options += " --precision 32-true --batch-size 4 --learning-rate 0.01"
    where = [str(tiny_folder("llama")), "--data", str(data), "--out-dir", str(folder / "my out")]
    quiet = ("LITGPT_QUIET", "RANK", "LOCAL_RANK", "NODE_RANK")
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    environment |= {"OMP_NUM_THREADS": "1", "TERM": "xterm", "TQDM_MININTERVAL": "0", "COLUMNS": "200"}
    return [sys.executable, "-m", "litgpt.cli", "finetune", *where, *options.split()], environment


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("log")
    arguments, environment = command(folder)
    return logged(arguments, environment, folder)


# On Linux, a process inherits its parent's peak memory, even after exec: a small intermediate process
# excludes the memory of the tests.
MEASURED = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


def logged(arguments: Sequence[str], environment: dict[str, str], folder: Path) -> Ran:
    """Run a command whose stderr is a file."""
    path, peak = folder / "stderr.txt", folder / "peak"
    with path.open("wb") as file:
        run = subprocess.run(
            [sys.executable, "-c", MEASURED, str(peak), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            check=False,
        )
    assert run.returncode == 0, path.read_text()
    unit = 1 if sys.platform == "darwin" else 1024
    return Ran(folder / "my out", run.stdout.decode(), path.read_text(), int(peak.read_text()) * unit)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("terminal")
    arguments, environment = command(folder)
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (50, 200))
    with subprocess.Popen(
        arguments, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal
    ) as process:
        os.close(terminal)
        read = b""
        try:
            while piece := os.read(controller, 4096):
                read += piece
        except OSError:  # Linux's end of a terminal
            pass
        os.close(controller)
        answer = process.communicate()[0]
    assert process.returncode == 0, read.decode()
    return Ran(folder / "my out", answer.decode(), read.decode())


def test_a_log_has_whole_lines_without_escapes(log: Ran) -> None:
    assert "\r" not in log.stderr
    assert "\x1b" not in log.stderr
    assert "%|" not in log.stderr
    assert log.answer == f"{log.out / 'adapter'}\n"


def test_a_log_has_only_the_librarys_lines(log: Ran) -> None:
    known = ("Preparing to train ", "Training ", "Training: ", "Validation: ", "Saved to ", *log.table)
    assert [line for line in log.stderr.splitlines() if not line.startswith(known)] == []


def test_a_log_begins_with_what_is_trained(log: Ran) -> None:
    first, second = log.stderr.splitlines()[:2]
    assert first == f"Preparing to train {tiny_folder('llama')} …"
    actual = START.fullmatch(second)
    assert actual, second
    model, trained, total, share, count, tokens, steps, _ = actual.groups()
    assert model == str(tiny_folder("llama"))
    with LLM.load(log.out / "adapter", distribute=None, quiet=True) as llm:
        llm.trainer_setup()
        llm.add_lora(rank=4)
        learns = sum(parameter.numel() for parameter in llm.parameters() if parameter.requires_grad)
        own = sum(parameter.numel() for parameter in llm.parameters())
    assert trained == f"{learns:,}"
    assert total == f"{own:,}"
    assert float(share) == pytest.approx(100 * learns / own, abs=0.01)
    assert (count, steps) == ("38", str(STEPS))  # two of forty are for validation
    assert int(tokens.replace(",", "")) > 38


def test_each_step_of_a_short_run_has_a_line_with_the_figures_of_its_row(log: Ran) -> None:
    lines = [actual for line in log.stderr.splitlines() if (actual := STEP.fullmatch(line))]
    of_steps = [row for row in rows(log.out) if row["train_loss"]]
    assert len(lines) == len(of_steps) == STEPS
    for actual, row in zip(lines, of_steps, strict=True):
        step, steps, loss, _, rate, speed, _ = actual.groups()
        assert (step, steps) == (row["step"], str(STEPS))
        assert float(loss) == pytest.approx(float(row["train_loss"]), abs=1e-4)
        assert float(rate) == pytest.approx(float(row["learning_rate"]), rel=0.01)
        assert float(speed.replace(",", "")) == pytest.approx(float(row["tokens_per_second"]), abs=0.6)
    assert [bool(actual[7]) for actual in lines] == [False, False, True, True, False]  # from speed measured


def test_validations_are_in_a_log_and_the_last_step_is_followed_by_one(log: Ran) -> None:
    validations = re.findall(
        r"^Validation: step (\d+) of 5, validation loss ([\d.]+)$", log.stderr, re.MULTILINE
    )
    assert validations == [(step, f"{float(loss):.4f}") for step, loss in validated(log.out)]
    assert [step for step, _ in validations] == ["3", "5"]


def reported_memory(ran: Ran) -> float:
    """Return the number of bytes that the start line expects."""
    (number, unit), *_ = re.findall(r"about ([\d.]+) (MB|GB) of memory", ran.stderr)
    return float(number) * {"MB": 1e6, "GB": 1e9}[unit]


cpu_build = pytest.mark.skipif(torch.version.cuda is not None, reason="CUDA's libraries take memory, too")


@cpu_build
def test_the_reported_memory_is_the_memory_taken(log: Ran) -> None:
    assert reported_memory(log) == pytest.approx(log.peak, rel=0.1)


@cpu_build
@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_memory_of_a_real_model_is_reported_too(tmp_path: Path, method: str) -> None:
    arguments, environment = command(tmp_path)
    at = arguments.index(str(tiny_folder("llama")))
    options = ["--method", method, "--max-steps", "2", "--max-seq-length", "64"]
    ran = logged([*arguments[:at], "smollm2", *arguments[at + 1 :], *options], environment, tmp_path)
    assert reported_memory(ran) == pytest.approx(ran.peak, rel=0.1)


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma2", "gpt_oss", "bloom"])
@pytest.mark.parametrize("trains", ["all", "queries and values", "all-linear", "all in bf16-mixed"])
def test_estimated_activations_equal_those_saved_by_autograd(family: str, trains: str) -> None:
    rows, length = 2, 150
    adapts, mixed = trains in ("queries and values", "all-linear"), trains.endswith("mixed")
    with LLM.load(tiny_folder(family), distribute=None, quiet=True) as llm:
        llm.trainer_setup()
        if adapts:
            llm.add_lora(rank=4, targets="all-linear" if trains == "all-linear" else None)
        architecture = llm.config.architecture
        own = {parameter.untyped_storage().data_ptr() for parameter in llm.parameters()}
        storages: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            if (address := tensor.untyped_storage().data_ptr()) not in own:
                storages[address] = tensor
            return tensor

        ids = torch.randint(3, 200, (rows, length))
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=mixed)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
            loss = llm.loss(ids, ids)
        storage_bytes = sum(value.untyped_storage().nbytes() for value in storages.values())
        del loss
    expected = training_footprint(
        architecture,
        trained=0,
        adapts=adapts,
        dtype="float32",
        compute_dtype="bfloat16" if mixed else "float32",
        tokens=rows * length,
        rows=rows,
        adapts_all=trains == "all-linear",
    ).activations
    logits = 4 * 4 * rows * length * architecture.vocab_size
    head = 0 if adapts else 4 * architecture.vocab_size * architecture.hidden_size
    assert (expected - logits - head) / GAPS == pytest.approx(storage_bytes, rel=0.2)


def test_pretraining_ends_with_a_table_whose_command_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out = tmp_path / "texts", tmp_path / "my out"
    texts.mkdir()
    for number in range(4):
        (texts / f"{number}.txt").write_text(f"what is said {number} times is true. " * 40)
    options = "--max-steps 2 --batch-size 2 --max-seq-length 32 --accelerator cpu --precision 32-true"
    where = ["--data", str(texts), "--out-dir", str(out)]
    assert run(["pretrain", str(tiny_folder("llama")), *where, *options.split()]) == 0
    (line,) = re.findall(r"^try it +(.*)$", capsys.readouterr().err, re.MULTILINE)
    program, *arguments = shlex.split(line)
    assert (program, *arguments[:2]) == ("litgpt", "generate", str(out / "model"))
    assert run([*arguments, "--max-new-tokens", "3"]) == 0, capsys.readouterr().err


def test_a_run_ends_with_a_table_whose_command_works(
    log: Ran, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = log.table
    assert table["steps"] == str(STEPS)
    assert table["loss"] == f"{float(losses(log.out)[-1][1]):.4f}"
    assert table["validation loss"] == f"{float(validated(log.out)[-1][1]):.4f}"
    assert re.fullmatch(rf"{NUMBER} at {NUMBER} tokens/s", table["tokens"])
    assert re.fullmatch(r"[\d.]+ s|\d+ min \d+ s", table["time"])
    for name in ("adapter", "loss curve", "metrics", "checkpoint"):
        assert Path(table[name]).exists()
    program, *arguments = shlex.split(table["try it"])
    assert (program, *arguments) == ("litgpt", "chat", str(log.out / "adapter"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("say 3\n"))
    assert run([*arguments, "--max-new-tokens", "3"]) == 0, capsys.readouterr().err


def test_a_terminal_has_a_bar_that_moves_with_each_batch(terminal: Ran) -> None:
    assert terminal.stderr.index("Preparing to train") < terminal.stderr.index("(LoRA, rank 4)")
    shares = re.findall(r"Training, step (\d)/5: +(\d+)%\|", terminal.stderr)
    expected = [(str(part // ACCUMULATE), str(10 * part)) for part in range(STEPS * ACCUMULATE + 1)]
    assert sorted(set(shares), key=lambda share: int(share[1])) == expected
    assert "tokens/s" in terminal.stderr
    assert f"litgpt chat {shlex.quote(str(terminal.out / 'adapter'))}" in terminal.stderr


def test_a_table_of_metrics_has_no_more_digits_than_float32(log: Ran) -> None:
    for row in rows(log.out):
        for name, value in row.items():
            digits = re.sub(r"e.*|[.-]", "", value).lstrip("0")
            assert len(digits) <= (7 if name != "tokens_per_second" else 9), (name, value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (45, "45 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_are_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_memory_of_training_counts_gradients_and_moments() -> None:
    with LLM.load(tiny_folder("llama"), distribute=None, quiet=True) as llm:
        llm.trainer_setup()
        architecture = llm.config.architecture
        weights = sum(parameter.nbytes for parameter in llm.parameters())
        count = sum(parameter.numel() for parameter in llm.parameters())
    estimate = partial(
        training_footprint,
        architecture,
        trained=count,
        adapts=False,
        dtype="float32",
        compute_dtype="float32",
        tokens=100,
        accumulates=True,
    )
    whole = estimate()
    assert whole.weights == weights
    assert whole.learning == 3 * weights  # a gradient and two moments
    adapter = training_footprint(
        architecture, trained=10, adapts=True, dtype="bfloat16", compute_dtype="bfloat16", tokens=200
    )
    assert (adapter.weights, adapter.learning) == (weights // 2, 120)  # itself and two moments
    assert estimate(checkpointing=True).activations < whole.activations
    assert whole.total == whole.weights + whole.learning + whole.activations + TRAINING_PROGRAM
    assert math.isclose(adapter.activations, whole.activations, rel_tol=0.5)
