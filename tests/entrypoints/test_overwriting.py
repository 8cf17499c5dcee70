"""Tests of saving, converting and training onto other content: nothing is overwritten unless requested."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from litgpt import LLM
from litgpt.cli.main import run
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.overwrite_check import WouldOverwrite
from litgpt.domain.training.config import CONFIG_FIELDS
from litgpt.training import train
from tests.adapters.litgpt_writer import litgpt_state, settings_of, write_litgpt_folder
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.small_runs import checkpoints, train_config

pytestmark = pytest.mark.usefixtures("one_thread")


def placed(folder: Path | str, **options: Any) -> LLM:
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true", **options)
    return llm


@pytest.fixture(scope="module")
def llama() -> Iterator[LLM]:
    with placed(tiny_folder("llama")) as llm:
        yield llm


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def litgpt_folder(folder: Path) -> None:
    state = litgpt_state("gpt_neox", load_file(tiny_folder("gpt_neox") / "model.safetensors"))
    write_litgpt_folder(folder, settings_of("gpt_neox"), state)


def adapter_folder(folder: Path) -> None:
    with placed(tiny_folder("gpt_neox")) as llm:
        llm.add_lora(targets=["query_key_value"])
        llm.save_adapter(folder)


def config_alone(folder: Path) -> None:
    folder.mkdir()
    shutil.copy(tiny_folder("gpt_neox") / "config.json", folder)


def somebodys_config(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"port": 8080}))


def a_gguf(folder: Path) -> None:
    folder.mkdir()
    (folder / "model.gguf").write_bytes(b"GGUF and more")


OTHERS: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: shutil.copytree(tiny_folder("gpt_neox"), folder), "a gpt_neox model"),
    (litgpt_folder, "a gpt_neox model"),
    (adapter_folder, "a LoRA adapter of rank 8 for "),
    (config_alone, "a gpt_neox model"),
    (somebodys_config, "another model"),
    (a_gguf, "another model"),
]


@pytest.mark.parametrize(("make", "holds"), OTHERS)
def test_another_model_is_replaced_only_on_request(
    llama: LLM, tmp_path: Path, make: Callable[[Path], object], holds: str
) -> None:
    folder = tmp_path / "there"
    make(folder)
    before = contents(folder)
    with pytest.raises(WouldOverwrite) as refused:
        llama.save(folder)
    start = rf"^{re.escape(str(folder))} already contains {holds}"
    message = rf"{start}.*, not the model to be saved\. Pass overwrite=True to "
    assert re.match(message, str(refused.value))
    assert isinstance(refused.value, FileExistsError)
    assert contents(folder) == before
    assert llama.save(folder, overwrite=True) == folder
    with placed(folder) as reloaded:
        assert reloaded.generate("hello", top_k=1) == llama.generate("hello", top_k=1)


def test_files_of_a_replaced_model_are_removed(llama: LLM, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder("gpt_neox"), tmp_path / "there")
    (tmp_path / "there" / "chat_template.jinja").write_text("of the other model")
    (tmp_path / "there" / "notes.txt").write_text("of nobody's concern")
    llama.save(tmp_path / "there", overwrite=True)
    assert "chat_template.jinja" not in contents(tmp_path / "there")
    assert "notes.txt" in contents(tmp_path / "there")


def test_the_same_model_is_saved_onto_itself(llama: LLM, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    llama.save(folder)
    llama.save(folder)
    with placed(folder) as reloaded:
        reloaded.save(folder)
        reloaded.add_lora()
        reloaded.merge_adapter(for_good=True)
        reloaded.save(folder)
    assert run(["convert", str(folder), str(folder), "--quiet"]) == 0


def test_a_fine_tuned_model_is_not_replaced_by_a_copy_of_another_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original, tuned = tiny_folder("llama"), tmp_path / "tuned"
    with placed(original) as llm:
        llm.save(tuned)
        llm.save(tuned)  # its own output
    before = contents(tuned)
    assert run(["convert", str(original), str(tuned), "--quiet"]) == 1
    assert f"{tuned} already contains a llama model with the same structure" in capsys.readouterr().err
    with placed(original) as llm:
        with pytest.raises(WouldOverwrite, match="with the same structure, whose weights may differ"):
            llm.save(tuned)
        assert contents(tuned) == before
        llm.save(tuned, overwrite=True)
    with placed(original) as llm:
        llm.add_lora()
        llm.merge_adapter(for_good=True)
        llm.save(tuned)  # new weights, which exist nowhere else
    link = tmp_path / "link"
    link.symlink_to(tuned)
    assert run(["convert", str(link), str(tuned), "--quiet"]) == 0  # its own source
    assert run(["convert", str(original), str(tuned), "--quiet", "--force"]) == 0


def test_a_folder_without_a_model_and_a_file_are_not_found(llama: LLM, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("of nobody's concern")
    llama.save(tmp_path)
    with pytest.raises(InvalidArgument, match="out_dir must be a folder, not "):
        llama.save(tmp_path / "notes.txt", overwrite=True)


def test_loading_quantized_weights_replaces_only_quantized_ones(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with placed(tiny_folder("llama")) as whole:
        whole.save(folder)
    with placed(folder, quantize="int8") as llm:
        with pytest.raises(
            WouldOverwrite, match=r"a llama model whose weights are not quantized in this way \(litgpt-int8\)"
        ):
            llm.save(folder)
        llm.save(folder, overwrite=True)
        llm.save(folder)
    with placed(folder) as dequantized:
        dequantized.save(folder)


def test_an_adapter_replaces_itself_and_neither_another_one_nor_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    with placed(tiny_folder("llama")) as llm:
        llm.add_lora(rank=4)
        assert llm.save_adapter(folder) == folder
        llm.save_adapter(folder)
        llm.add_lora(rank=8, name="larger")
        with pytest.raises(WouldOverwrite, match=r"a LoRA adapter of rank 4 for .*, not the adapter to be"):
            llm.save_adapter(folder)
        llm.save_adapter(folder, overwrite=True)
        shutil.copytree(tiny_folder("llama"), tmp_path / "model")
        before = contents(tmp_path / "model")
        for overwrite in (False, True):
            with pytest.raises(
                InvalidArgument, match="a folder without a llama model, which would hide an adapter"
            ):
                llm.save_adapter(tmp_path / "model", overwrite=overwrite)
        assert contents(tmp_path / "model") == before


def test_convert_requires_force_before_reading_weights_and_reports_its_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "there"
    shutil.copytree(tiny_folder("gpt_neox"), target)
    before = contents(target)
    assert run(["convert", str(tiny_folder("llama")), str(target)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "Using 1 device" not in output.err  # it had not been placed, nor its weights fetched
    assert output.err.splitlines()[-1] == (
        f"error: {target} already contains a gpt_neox model, not the model to be saved. Pass --force to "
        "replace it, or choose another path."
    )
    assert contents(target) == before
    assert run(["convert", str(tiny_folder("llama")), str(target), "--force"]) == 0
    output = capsys.readouterr()
    assert output.out == f"{target}\n"
    written = re.search(rf"Saved to {re.escape(str(target))}: (\d+) files, ([\d.]+ [kM]B)", output.err)
    assert written
    assert int(written[1]) == len(contents(target))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_converting_a_training_checkpoint_overwrites_only_its_own_output(tmp_path: Path, method: str) -> None:
    done = train(train_config(tmp_path, max_steps=1, method=method), report=lambda _: None)
    checkpoint, target = str(done.checkpoint), tmp_path / "there"
    shutil.copytree(tiny_folder("gpt_neox"), target)
    assert run(["convert", checkpoint, str(target), "--quiet"]) == 1
    shutil.rmtree(target)
    assert run(["convert", checkpoint, str(target), "--quiet"]) == 0
    assert run(["convert", checkpoint, str(target), "--quiet"]) == 1  # it may have been trained further
    assert run(["convert", checkpoint, str(target), "--quiet", "--force"]) == 0
    assert run(["convert", checkpoint, str(done.saved), "--quiet"]) == 0


def test_a_new_run_replaces_neither_an_earlier_one_nor_another_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    train(train_config(tmp_path, max_steps=3), report=lambda _: None)
    with pytest.raises(WouldOverwrite, match=r"out already contains a run \(step 3\)\. Use another"):
        train(train_config(tmp_path, max_steps=2), report=lambda _: None)
    with pytest.raises(InvalidArgument, match="overwrite must be False with resume="):
        train(train_config(tmp_path, max_steps=2), resume="last", overwrite=True, report=lambda _: None)
    config = train_config(tmp_path)
    options = (
        "--data",
        config.data,
        "--out-dir",
        str(out),
        "--quiet",
        "--max-steps",
        "1",
        "--method",
        "full",
    )
    assert run(["finetune", config.model, *options]) == 1
    remedy = "Use another --out-dir, continue with --resume last, or replace the run with --force."
    assert f"error: {out} already contains a run (step 3). {remedy}" in capsys.readouterr().err
    train(train_config(tmp_path, max_steps=2), overwrite=True, report=lambda _: None)
    assert checkpoints(out) == ["step-00000002.ckpt"]
    assert run(["finetune", config.model, *options, "--force"]) == 0
    assert checkpoints(out) == ["step-00000001.ckpt"]
    shutil.rmtree(out)
    shutil.copytree(tiny_folder("gpt_neox"), out / "model")
    with pytest.raises(WouldOverwrite, match="model already contains a gpt_neox model"):
        train(train_config(tmp_path, max_steps=1), report=lambda _: None)
    assert [path.name for path in out.iterdir()] == ["model"]
    result = train(train_config(tmp_path, max_steps=1), overwrite=True, report=lambda _: None)
    assert result.saved == out / "model"


def test_a_users_config_file_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "recipe.yaml").write_text("batch_size: 3\n")
    with pytest.raises(WouldOverwrite, match=r"recipe\.yaml already contains a recipe written by hand"):
        train(train_config(tmp_path, max_steps=1), report=lambda _: None)
    config = train_config(tmp_path, max_steps=1)
    short = {
        "model": config.model,
        "data": config.data,
        "out_dir": str(out),
        "max_steps": 1,
        "method": "full",
    }
    short |= {"accelerator": "cpu", "precision": "32-true", "learning_rate": 1e-2, "max_seq_length": 200}
    (out / "recipe.yaml").write_text(yaml.safe_dump(short))
    assert run(["finetune", "--config", str(out / "recipe.yaml"), "--quiet"]) == 0
    assert yaml.safe_load((out / "recipe.yaml").read_text()).keys() == CONFIG_FIELDS.keys()
    shutil.rmtree(out / "checkpoints")
    train(train_config(tmp_path, max_steps=1, batch_size=2), report=lambda _: None)  # a run's own may change


def test_a_saved_chat_replaces_only_its_own_earlier_versions(tmp_path: Path) -> None:
    shutil.copytree(tiny_folder("llama"), tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    path, llama = tmp_path / "talk.json", placed(tmp_path / "model")
    chat = llama.chat(max_new_tokens=2, temperature=0.0)
    chat.send("Hi")
    assert chat.save(path) == path
    chat.send("More")
    chat.save(path)
    chat.undo()
    chat.save(path)
    second = llama.chat(resume=path, max_new_tokens=2, temperature=0.0)
    second.send("Even more")
    second.save(path)
    other = llama.chat(max_new_tokens=2, temperature=0.0)
    other.send("Hi there")
    before = path.read_bytes()
    with pytest.raises(WouldOverwrite, match=r"talk\.json already contains a different conversation\. Pass"):
        other.save(path)
    assert path.read_bytes() == before
    other.save(path, overwrite=True)
    (tmp_path / "notes.txt").write_text("not a chat")
    with pytest.raises(WouldOverwrite, match=r"notes\.txt already contains a file that is not a saved chat"):
        other.save(tmp_path / "notes.txt")
