"""Tests of the output of a script that fails by a user's mistake: few lines, the message last."""

import json
import os
import subprocess
import sys
from typing import TypedDict

import pytest

from tests.adapters.tiny_models import tiny_folder

MOST_LINES = 30

# Runs each script as a main program, and writes the tracebacks.
RUNNER = r"""
import json, pathlib, sys, traceback

found = {}
for path in sorted(pathlib.Path("scripts").glob("*.py")):
    try:
        exec(compile(path.read_text(), str(path), "exec"), {"__name__": "__main__"})
    except Exception as error:
        frames = traceback.TracebackException.from_exception(error)
        frames.stack = traceback.StackSummary.from_list(frames.stack[1:])  # without this one
        found[path.stem] = {"kind": type(error).__name__, "printed": "".join(frames.format())}
    else:
        found[path.stem] = {"kind": "", "printed": ""}
json.dump(found, sys.stdout)
"""

BEGIN = "from litgpt import LLM\nllm = LLM.load('tiny', distribute=None, quiet=True)\nllm.distribute('cpu')\n"
TRAIN = "from litgpt.training import TrainConfig, train\n"

# The script after `from litgpt import LLM`, the kind of its error, and words of the last line.
SCRIPTS: dict[str, tuple[str, str, str]] = {
    "missing_model": (
        "LLM.load('no/such/model', offline=True)",
        "ModelNotFound",
        "There is no model 'no/such/model'",
    ),
    "missing_folder": (
        "LLM.load('./no-such-folder')",
        "ModelNotFound",
        "There is no model './no-such-folder'",
    ),
    "misspelt_package": ("LLM.load('smolm2', offline=True)", "ModelNotFound", "Did you mean smollm2"),
    "unreachable_hub": ("LLM.load('org/model')", "HubUnreachable", "the Hub cannot be reached"),
    "unreachable_tokenizer": (
        "LLM.load('tiny', tokenizer_dir='org/model')",
        "HubUnreachable",
        "cannot be reached",
    ),
    "unreachable_config": ("LLM.load('org/model', init='random')", "HubUnreachable", "cannot be reached"),
    "unreachable_adapter": (BEGIN + "llm.load_adapter('org/adapter')", "HubUnreachable", "cannot be reached"),
    "cut_weights": ("LLM.load('cut', quiet=True)", "CorruptFile", "cut/model.safetensors is damaged"),
    "no_json": ("LLM.load('no_json')", "CorruptFile", "config.json is damaged"),
    "not_a_model": ("LLM.load('empty')", "InvalidCheckpoint", "is not a model"),
    "bad_gguf": ("LLM.load('bad.gguf')", "UnsupportedModel", "it has GGUF version 0"),
    "unknown_family": ("LLM.load('unknown')", "UnsupportedModel", "is not supported"),
    "bad_option": (BEGIN + "llm.generate('Hi', temperature=-1)", "InvalidArgument", "temperature must be"),
    "unknown_option": (
        BEGIN + "llm.generate('Hi', max_tokens=5)",
        "InvalidCall",
        "Did you mean 'max_new_tokens'?",
    ),
    "missing_argument": (BEGIN + "llm.benchmark('Hi')", "InvalidCall", "needs prompt=…, by name."),
    "bad_type": (BEGIN + "llm.generate(5)", "WrongType", "prompt must be a string"),
    "bad_message": (BEGIN + "llm.generate([{'rule': 'user'}])", "WrongType", "must be a message such as"),
    "long_prompt": (BEGIN + "llm.generate('a ' * 5000)", "PromptTooLong", "Shorten the prompt"),
    "long_prompt_streamed": (
        BEGIN + "list(llm.generate('a ' * 5000, stream=True))",
        "PromptTooLong",
        "Shorten",
    ),
    "long_message": (BEGIN + "llm.chat().send('a ' * 5000)", "PromptTooLong", "Shorten the prompt"),
    "bad_device": (BEGIN + "llm.distribute('tpu')", "InvalidArgument", "accelerator must be"),
    "no_such_device": (BEGIN + "llm.distribute('cuda')", "HardwareUnavailable", "no cuda device was found"),
    "bad_quantization": (
        BEGIN + "llm.distribute('cpu', quantize='nf4')",
        "InvalidArgument",
        "Did you mean bnb.nf4?",
    ),
    "not_placed": (
        "LLM.load('tiny', distribute=None).generate('Hi')",
        "NotDistributed",
        "is not initialized yet",
    ),
    "closed": (BEGIN + "llm.close()\nllm.generate('Hi')", "NotDistributed", "The model was closed"),
    "model_as_adapter": (
        BEGIN + "llm.load_adapter('tiny')",
        "MissingFile",
        "tiny is a model, not an adapter",
    ),
    "misspelt_adapter": (
        BEGIN + "llm.load_adapter('./tin', offline=True)",
        "ModelNotFound",
        "A path with a similar name is tiny.",
    ),
    "misspelt_repository_or_path": (
        BEGIN + "llm.load_adapter('run/adaptr', offline=True)",
        "HubUnreachable",
        "under checkpoints. A path with a similar name is run/adapter.",
    ),
    "run_as_model": ("LLM.load('run')", "InvalidCheckpoint", "run is a training run. Use run/adapter."),
    "no_memory": (
        "LLM.load('huge', init='random', tokenizer_dir='tiny', distribute=None).distribute('cpu')",
        "InsufficientSpace",
        "memory",
    ),
    "other_model_there": (
        BEGIN + "llm.save('unknown')",
        "WouldOverwrite",
        "Pass overwrite=True to replace it",
    ),
    "unwritable": (
        BEGIN + "llm.save('/proc/model')",
        "UnsupportedOperation",
        "Saving to /proc/model is not possible",
    ),
    "unwritable_adapter": (
        BEGIN + "llm.add_lora()\nllm.save_adapter('/proc/adapter')",
        "UnsupportedOperation",
        "Saving to /proc/adapter is not possible",
    ),
    "no_chat": (BEGIN + "llm.chat(resume='no.json')", "MissingFile", "no.json is missing"),
    "no_adapter": (BEGIN + "llm.set_adapter('mine')", "InvalidArgument", "name must be"),
    "bad_setting": (
        TRAIN + "TrainConfig(model='tiny', data='x', out_dir='o', epochs=0)",
        "InvalidArgument",
        "epochs must be",
    ),
    "no_data": (
        TRAIN + "train(TrainConfig(model='tiny', data='no.jsonl', out_dir='o'))",
        "DataNotFound",
        "no.jsonl",
    ),
    "bad_data": (
        TRAIN + "train(TrainConfig(model='tiny', data='bad.jsonl', out_dir='o'))",
        "InvalidData",
        "bad.jsonl",
    ),
    "one_record": (
        TRAIN + "train(TrainConfig(model='tiny', data='one.jsonl', out_dir='o'))",
        "InvalidData",
        "one.jsonl cannot be used for training: its only record would be for validation",
    ),
    "one_record_with_a_misspelt_key": (
        TRAIN + "train(TrainConfig(model='tiny', data='misspelt.jsonl', out_dir='o'))",
        "InvalidData",
        "misspelt.jsonl, line 1 cannot be used for training: it has no 'output'",
    ),
    "unknown_targets": (
        TRAIN + "train(TrainConfig(model='tiny', data='two.jsonl', out_dir='o', lora_targets=['q_prj']))",
        "InvalidArgument",
        "Did you mean q_proj?",
    ),
    "no_tokenizer": ("from litgpt import Tokenizer\nTokenizer('empty')", "MissingFile", "has no tokenizer"),
}


class Ended(TypedDict):
    kind: str
    printed: str


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Return each script's result. One process runs them all, because importing torch takes long."""
    here = tmp_path_factory.mktemp("mistakes")
    tiny = tiny_folder("llama")
    (here / "tiny").symlink_to(tiny)
    for name in ("cut", "no_json", "unknown"):
        (here / name).mkdir()
        for path in tiny.iterdir():
            (here / name / path.name).write_bytes(path.read_bytes())
    (here / "cut" / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes()[:-5000])
    (here / "no_json" / "config.json").write_text("{")
    config = json.loads((tiny / "config.json").read_text())
    (here / "unknown" / "config.json").write_text(json.dumps({**config, "model_type": "unheard_of"}))
    (here / "huge").mkdir()
    size = {"vocab_size": 2**22, "hidden_size": 2**17, "num_hidden_layers": 1}  # two terabytes in float32
    (here / "huge" / "config.json").write_text(json.dumps({**config, **size}))
    (here / "empty").mkdir()
    (here / "run" / "adapter").mkdir(parents=True)
    for file in ("recipe.yaml", "adapter/adapter_config.json"):
        (here / "run" / file).write_text("{}")
    (here / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    (here / "bad.jsonl").write_text('{"prompt": "a"\n')
    record = '{"instruction": "a", "output": "b"}\n'
    (here / "one.jsonl").write_text(record)
    (here / "two.jsonl").write_text(2 * record)
    (here / "misspelt.jsonl").write_text('{"instruction": "a", "outptu": "b"}\n')
    (here / "scripts").mkdir()
    for name, (text, _, _) in SCRIPTS.items():
        (here / "scripts" / f"{name}.py").write_text(f"from litgpt import LLM\n\n{text}\n")
    # Nobody listens on port 9, so that a connection is refused at once.
    settings = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_CACHE": str(here / "cache"), "LITGPT_QUIET": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LITGPT_")}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], cwd=here, env=environment | settings, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    results: dict[str, Ended] = json.loads(done.stdout)
    return results


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_mistake_ends_a_script_in_a_few_lines_with_the_message_last(
    ended: dict[str, Ended], name: str
) -> None:
    kind, printed = ended[name]["kind"], ended[name]["printed"]
    *_, line = SCRIPTS[name][0].splitlines()
    assert kind == SCRIPTS[name][1], printed
    assert len(printed.splitlines()) < MOST_LINES, printed
    assert SCRIPTS[name][2] in printed.splitlines()[-1]
    assert f'File "scripts/{name}.py"' in printed
    assert line.split("; ")[-1] in printed
