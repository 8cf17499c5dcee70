"""Tests of `litgpt.data`: connected to a model, fed to the Trainer, and refused without targets."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from dependency_injector import providers
from pyarrow import parquet

from litgpt import Tokenizer, data
from litgpt.adapters.hub.datasets import HubDatasets
from litgpt.container import container
from litgpt.data import JSON, Alpaca, Alpaca2k, DataModule
from litgpt.domain.chat.styles import find_style
from litgpt.domain.errors import HubUnreachable, InvalidArgument, NotInstalled, UnsupportedModel, WrongType
from litgpt.domain.training.errors import DataModuleNotConnected, DataNotFound, InvalidData
from litgpt.testing import ByteTokenizer
from tests.adapters.loopback_hub import LoopbackHub
from tests.adapters.recording import LIGHTNINGS_OWN, Recorder, trainer

pytestmark = LIGHTNINGS_OWN

END = ByteTokenizer().eos_id
GOOD = '{"prompt": "a", "completion": "b"}'
RECORDS = [{"instruction": f"Say {number}.", "input": "", "output": f"{number}!"} for number in range(10)]
PLAIN = ByteTokenizer(has_chat_template=False)


def write(path: Path, records: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(records), path)
    elif path.suffix == ".jsonl":
        assert isinstance(records, list)
        path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    else:
        path.write_text(json.dumps(records), encoding="utf-8")
    return path


def batches(module: DataModule) -> list[dict[str, torch.Tensor]]:
    return list(module.train_dataloader())


def texts(fed: list[dict[str, torch.Tensor]]) -> list[str]:
    """Return the texts in batches, example by example, without padding."""
    rows = [row for batch in fed for row in batch["input_ids"].tolist()]
    return [ByteTokenizer().decode(row, include_special_tokens=True).partition("!")[0] for row in rows]


def learned(batch: dict[str, torch.Tensor]) -> list[str]:
    """Return the target text of each example."""
    return [
        ByteTokenizer().decode([value for value in row if value >= 0], include_special_tokens=True)
        for row in batch["labels"].tolist()
    ]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    records = [
        {"instruction": f"Say {number}.", "input": "", "output": f"{number}!", "text": "…"}
        for number in range(2000)
    ]
    root = tmp_path / "hub" / "datasets"
    write(root / "mhenrichsen" / "alpaca_2k_test" / "alpaca_2000.parquet", records)
    write(root / "yahma" / "alpaca-cleaned" / "alpaca_data_cleaned.json", records[:100])
    with LoopbackHub(tmp_path / "hub") as running:
        fetch = HubDatasets(endpoint=running.endpoint, cache_dir=tmp_path / "cache")
        with container.fetch_dataset.override(providers.Object(fetch)):
            yield running


def test_alpaca2k_is_fetched_split_and_trained_on(hub: LoopbackHub, tmp_path: Path) -> None:
    module = Alpaca2k()
    module.connect(Tokenizer(ByteTokenizer()), batch_size=8, max_seq_length=512)
    recorder = Recorder()
    trainer(tmp_path).fit(recorder, module)
    assert sum(map(len, recorder.fed)) == 1900
    assert sum(map(len, recorder.validated)) == 100
    assert len(recorder.fed[0]) == 8
    seen = {str(row) for batch in recorder.fed for row in batch}
    assert not seen & {str(row) for batch in recorder.validated for row in batch}
    requests = [request for request in hub.requests if "alpaca_2000.parquet" in request]
    assert requests
    hub.requests.clear()
    second = Alpaca2k()
    second.connect(Tokenizer(ByteTokenizer()), batch_size=8, max_seq_length=512)
    second.prepare_data()
    assert hub.requests == []


def test_a_download_draws_no_bar_in_a_log(hub: LoopbackHub, capsys: pytest.CaptureFixture[str]) -> None:
    Alpaca2k().prepare_data()
    assert hub.requests
    assert "\r" not in capsys.readouterr().err


def test_alpaca_takes_the_cleaned_file(hub: LoopbackHub, tmp_path: Path) -> None:
    module = Alpaca(download_dir=tmp_path / "mine")
    module.connect(ByteTokenizer(), batch_size=1)
    module.prepare_data()
    assert (tmp_path / "mine" / "datasets--yahma--alpaca-cleaned").is_dir()
    assert len(batches(module)) == 97
    assert hub.requests


def test_offline_an_uncached_file_is_an_error(hub: LoopbackHub) -> None:
    hub.broken_with = 503
    module = Alpaca2k()
    module.connect(ByteTokenizer())
    with pytest.raises(HubUnreachable, match="mhenrichsen/alpaca_2k_test"):
        module.setup()


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_a_file_of_records_is_trained_on(suffix: str, tmp_path: Path) -> None:
    module = JSON(write(tmp_path / f"data{suffix}", RECORDS), val_split_fraction=0.2, mask_prompt=True)
    module.connect(ByteTokenizer(), batch_size=4, max_seq_length=100)
    fed = batches(module)
    assert [len(batch["input_ids"]) for batch in fed] == [4, 4]
    targets = {stretch for batch in fed for stretch in learned(batch)}
    val = module.val_dataloader()
    assert not isinstance(val, list)
    held_back = {stretch for batch in val for stretch in learned(batch)}
    assert targets | held_back == {f"{number}!<|end|>" for number in range(10)}
    assert len(held_back) == 2


def test_json_lines_may_be_called_json_and_may_have_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text("\ufeff" + "\n\n".join(map(json.dumps, RECORDS)), encoding="utf-8")
    module = JSON(path)
    module.connect(ByteTokenizer())
    assert len(batches(module)) == 10
    assert module.val_dataloader() == []


def test_a_folder_has_its_own_validation(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", RECORDS)
    module = JSON(tmp_path)
    module.connect(ByteTokenizer())
    assert module.val_dataloader() == []
    write(tmp_path / "val.json", RECORDS[:3])
    module = JSON(tmp_path)
    module.connect(ByteTokenizer())
    assert len(list(module.val_dataloader())) == 3
    assert len(batches(module)) == 10
    with pytest.raises(InvalidArgument, match=r"val_split_fraction must be None .*val\.json"):
        JSON(tmp_path, val_split_fraction=0.1)


def test_the_split_is_that_of_random_split(tmp_path: Path) -> None:
    """As in LitGPT, so that validation losses can be compared."""
    module = JSON(write(tmp_path / "data.json", RECORDS), val_split_fraction=0.3, seed=7)
    module.connect(ByteTokenizer())
    generator = torch.Generator().manual_seed(7)
    numbers: Any = range(10)
    reference: Any = torch.utils.data.random_split(numbers, [0.7, 0.3], generator=generator)[1]
    val = module.val_dataloader()
    assert not isinstance(val, list)
    assert texts(list(val)) == [f"<|user|>Say {number}.<|end|><|assistant|>{number}" for number in reference]


def test_batches_are_right_padded_and_prompts_masked_on_request(tmp_path: Path) -> None:
    path = write(
        tmp_path / "data.json", [{"prompt": "a", "completion": "b"}, {"prompt": "aaa", "completion": "bb"}]
    )
    for masked in (True, False):
        module = JSON(path, mask_prompt=masked)
        module.connect(ByteTokenizer(), batch_size=2)
        (batch,) = batches(module)
        ids, labels = batch["input_ids"], batch["labels"]
        assert ids.shape == labels.shape
        assert ids.dtype == labels.dtype == torch.int64
        short = 0 if len(learned(batch)[0]) < len(learned(batch)[1]) else 1
        assert ids[short, -3:].tolist() == [END] * 3
        assert labels[short, -3:].tolist() == [-100] * 3
        assert min(learned(batch), key=len) == (
            "b<|end|>" if masked else "<|user|>a<|end|><|assistant|>b<|end|>"
        )


def test_the_training_style_is_the_requested_one_the_template_or_alpaca(tmp_path: Path) -> None:
    path = write(tmp_path / "data.json", [{"instruction": "Add.", "input": "1, 2", "output": "3!"}])
    for tokenizer, options, style, begins in (
        (ByteTokenizer(), None, None, "<|user|>Add.\n\n1, 2<|end|>"),
        (
            PLAIN,
            None,
            find_style("alpaca"),
            "Below is an instruction that describes a task, paired with an input",
        ),
        (ByteTokenizer(), "alpaca", find_style("alpaca"), "Below is an instruction"),
        (ByteTokenizer(), find_style("default"), find_style("default"), "Add.\n\n1, 23"),
    ):
        module = JSON(path, prompt_style=options)
        module.connect(tokenizer)
        assert module.prompt_style == style
        assert texts(batches(module))[0].startswith(begins)


def test_long_examples_are_truncated_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"prompt": "a" * length, "completion": "b" * 5} for length in (1, 20, 40)]
    module = JSON(write(tmp_path / "data.json", records), mask_prompt=True)
    module.connect(ByteTokenizer(), batch_size=3, max_seq_length=26)
    (batch,) = batches(module)
    assert batch["input_ids"].shape[1] <= 26
    assert sorted(learned(batch)) == ["bbb", "bbbbb<|end|>"]
    assert (
        "JSON, training: 2 of 3 examples have more than 26 tokens (the longest has 49) and are "
        "truncated. 1 of 3 have no tokens to train on and are dropped." in capsys.readouterr().err
    )
    module.connect(ByteTokenizer(), batch_size=3, max_seq_length=None)
    assert batches(module)[0]["input_ids"].shape == (3, 49)


def test_no_remaining_targets_are_an_error(tmp_path: Path) -> None:
    module = JSON(write(tmp_path / "data.json", RECORDS), mask_prompt=True)
    module.connect(ByteTokenizer(), max_seq_length=4)
    with pytest.raises(
        InvalidData, match=r"no example is left for training. 10 of 10 examples have more than 4"
    ):
        module.setup()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.json", "[]", r"data\.json cannot be used for training: it has no records"),
        ("data.json", "", "it has no records"),
        ("data.jsonl", "\n", "it has no records"),
        ("data.json", '"a"', r"data\.json cannot be used for training: it is not a list of records"),
        (
            "data.json",
            "[1",
            r"data\.json, line 1 \(record 1\) cannot be used for training: it is not JSON: neither",
        ),
        ("data.json", "[\n\n{}\n]", r"line 3 \(record 1\) .* it has no fields"),
        ("data.json", f"[\r\n{GOOD},\r\n]", r"data\.json, line 3, column 1 \(record 2\) .* not JSON"),
        ("data.json", f"[\n{GOOD},\n{GOOD}\n{GOOD}]", r"line 3 \(record 2\) .* not JSON: neither a comma"),
        ("data.json", f"[\n{GOOD},\n{{1}}]", r"json, line 3, column 2 \(record 2\) .* not JSON: [^:(]+\.$"),
        (
            "data.jsonl",
            f"{GOOD}\n{GOOD[:-1]}\n{GOOD}\n",
            rf"jsonl, line 2, column {len(GOOD)} cannot .* not JSON: Expecting ',' delimiter",
        ),
        ("data.jsonl", f"{GOOD}\n{{1}}\n", r"jsonl, line 2, column 2 cannot .* not JSON: [^:(]+\.$"),
        ("data.json", f"[\n{GOOD}\n]\n\n[]", r"line 3 cannot .* not JSON: something follows"),
        ("data.json", f"[\n{GOOD},\n" + "[" * 100_000, r"line 3 \(record 2\) .* not JSON: maximum recursion"),
        ("data.jsonl", f"{GOOD}\n" + '{"a":' * 100_000, r"line 2 .* not JSON: maximum recursion"),
        ("data.jsonl", f"{GOOD}\n" + '{"prompt": 1' + "0" * 5000 + "}", r"line 2 .* not JSON: .*digits"),
        (
            "data.jsonl",
            f'{GOOD}\n{{"prompt": NaN, "completion": "b"}}',
            r"line 2 .* 'prompt' is of type float",
        ),
        ("data.jsonl", f"{GOOD}\n\ufeff{GOOD}", r"line 2, column 1 .* not JSON: .*BOM"),
        ("data.jsonl", f"\ufeff{GOOD}\r\n\r\n\r\n[1]", r"line 4, message 1 .* of type int"),
        (
            "data.jsonl",
            f'{GOOD}\n{{"prompt": "a\x00", "completion": "b"}}',
            r"line 2, column 14 .* not JSON: Invalid control",
        ),
        (
            "data.jsonl",
            f'{GOOD}\n{{"prompt": "a", "completion": "\\ud83d"}}',
            r"line 2 .* 'completion' has .*ud83d'",
        ),
        ("data.jsonl", f'{GOOD}\n{{"messages": "a"}}', r"line 2 .* messages are of type str"),
        (
            "data.jsonl",
            f'{GOOD}\n{{"messages": [{{"role": "\\ude00", "content": "b"}}]}}',
            r"line 2, message 1 .*'role'",
        ),
        (
            "data.jsonl",
            '{"prompt": "a", "completion": "b"}\n{"prompt": ',
            r"data\.jsonl, line 2, column 12 .* not JSON",
        ),
        ("data.jsonl", '\n{"prompt": "a"}', r"data\.jsonl, line 2 .* no 'completion'"),
        ("data.json", '[{"prompt": "a"}]', r"data\.json, line 1 \(record 1\) .* no 'completion'"),
        ("data.csv", "a,b", "does not end in "),
        ("data.parquet", "PAR", "not Parquet"),
    ],
)
def test_an_invalid_training_file_is_an_error_with_location_and_reason(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")

    def read() -> None:
        module = JSON(tmp_path / name)
        module.connect(ByteTokenizer())
        module.setup()

    with pytest.raises(InvalidData, match=message):
        read()


def test_parquet_needs_a_package_and_the_error_has_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = JSON(write(tmp_path / "data.parquet", RECORDS))
    module.connect(ByteTokenizer())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotInstalled, match="pip install pyarrow"):
        module.setup()


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    for name in ("data.json", "data.jsonl"):
        (tmp_path / name).write_bytes(json.dumps(RECORDS[:1]).encode("utf-16"))
        module = JSON(tmp_path / name)
        module.connect(ByteTokenizer())
        with pytest.raises(InvalidData, match=rf"{name}, line 1 .*not encoded in UTF-8"):
            module.setup()


@pytest.mark.parametrize(("name", "line"), [("data.json", 4), ("data.jsonl", 3)])
def test_a_byte_that_is_not_utf8_is_named_with_its_line(tmp_path: Path, name: str, line: int) -> None:
    records = "\n,".join([GOOD] * 4) if name == "data.json" else "\n".join([GOOD] * 4)
    content = (f"[\n{records}]" if name == "data.json" else records).encode().splitlines(keepends=True)
    content[line - 1] = content[line - 1].replace(b"b", b"\xff")
    (tmp_path / name).write_bytes(b"".join(content))
    module = JSON(tmp_path / name)
    module.connect(ByteTokenizer())
    with pytest.raises(InvalidData, match=rf"{name}, line {line} .*not encoded in UTF-8.*0xff"):
        module.setup()


def test_a_row_of_parquet_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    bad = pa.array([b"b", b"b", b"\xff", b"b"], pa.binary()).view(pa.string())
    texts = pa.table({"prompt": ["a"] * 4, "completion": bad})
    dates = pa.table({"prompt": ["a"] * 3, "seen": pa.array([1, 2, 2**62], pa.timestamp("s"))})
    values = pa.table({"prompt": ["a", "a"], "completion": pa.array([b"b", b"c"])})
    for name, table, message in (
        ("texts", texts, r"texts\.parquet, record 3 .* cannot be read: 'utf-8' codec"),
        ("dates", dates.set_column(1, "completion", pa.array(["a"] * 3)), None),
        ("values", values, r"values\.parquet, record 1 .* 'completion' is of type bytes"),
    ):
        path = tmp_path / f"{name}.parquet"
        parquet.write_table(table, path)
        module = JSON(path)
        module.connect(ByteTokenizer())
        if message is None:
            module.setup()
            continue
        with pytest.raises(InvalidData, match=message):
            module.setup()
    path.write_bytes((tmp_path / "texts.parquet").read_bytes()[:-200])
    with pytest.raises(InvalidData, match=r"values\.parquet .* not Parquet, or it is damaged"):
        module.setup()


class Refusing(ByteTokenizer):
    """Refuses a letter, as a tokenizer does whose token has no embedding in the model."""

    def encode(
        self, text: str, *, bos: bool | None = None, eos: bool = False, escaped: bool = False
    ) -> list[int]:
        if "ß" in text:
            raise InvalidArgument("text", "ß", "free of tokens that the model has no embedding for")
        if "Ω" in text:
            raise KeyError(text)
        return super().encode(text, bos=bos, eos=eos, escaped=escaped)


@pytest.mark.parametrize("letter", ["ß", "Ω"])
def test_text_that_the_tokenizer_refuses_is_named_with_its_line(tmp_path: Path, letter: str) -> None:
    answers = ("b", "b", letter)
    records = [{"prompt": "a", "completion": answer} for answer in answers]
    for name, message in (
        ("data.jsonl", "line 3"),
        ("data.parquet", "record 3"),
        ("data.json", "line 1 .record 3."),
    ):
        module = JSON(write(tmp_path / name, records))
        module.connect(Refusing())
        with pytest.raises(
            InvalidData, match=rf"{name}, {message} .*{'embedding' if letter == 'ß' else 'KeyError'}"
        ):
            module.setup()


def test_an_example_unsupported_by_the_style_is_named_with_its_line(tmp_path: Path) -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    record = {"messages": [{"role": role, "content": content} for role, content in turns]}
    module = JSON(write(tmp_path / "data.jsonl", [record]), prompt_style="flan")
    module.connect(ByteTokenizer())
    with pytest.raises(InvalidData, match=r"line 1 .* Ask one question at a time"):
        module.setup()


def test_missing_data_are_an_error_at_once(tmp_path: Path) -> None:
    for path in (tmp_path / "data.json", tmp_path):
        with pytest.raises(DataNotFound, match=r"The data set .* was not found"):
            JSON(path)
    with pytest.raises(WrongType, match="json_path"):
        JSON(3)  # type: ignore[arg-type]


def test_a_module_with_invalid_arguments_is_refused() -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"mask_prompt": "yes"},
        {"val_split_fraction": 1.5},
        {"seed": "42"},
        {"num_workers": -1},
        {"prompt_style": 3},
    )
    for arguments in wrong:
        with pytest.raises(InvalidArgument, match=next(iter(arguments))):
            Alpaca2k(**arguments)
    with pytest.raises(UnsupportedModel, match="no prompt style"):
        Alpaca2k(prompt_style="alpacca")


def test_invalid_arguments(tmp_path: Path) -> None:
    module = JSON(write(tmp_path / "data.json", RECORDS))
    with pytest.raises(DataModuleNotConnected, match="JSON is not connected"):
        module.train_dataloader()
    wrong: tuple[dict[str, Any], ...] = ({"batch_size": 0}, {"batch_size": 2.0}, {"max_seq_length": 1})
    for arguments in wrong:
        with pytest.raises(InvalidArgument, match=next(iter(arguments))):
            module.connect(ByteTokenizer(), **arguments)
    with pytest.raises(WrongType, match=r"llm\.tokenizer"):
        module.connect("pythia")
    module.connect(ByteTokenizer(), max_seq_length=-1)
    assert module.max_seq_length is None


def test_a_custom_module_defines_its_examples(tmp_path: Path) -> None:
    class Birds(DataModule):
        def train_examples(self) -> list[Any]:
            return [{"prompt": "a", "completion": "b"}, [{"role": "assistant", "content": "c"}]]

        def val_examples(self) -> list[Any]:
            return [{"prompt": "a"}]

    birds = Birds()
    birds.connect(ByteTokenizer())
    with pytest.raises(InvalidData, match=r"Birds, validation example 1 .* no 'completion'"):
        birds.setup()
    unsaid = DataModule()
    unsaid.connect(ByteTokenizer())
    with pytest.raises(NotImplementedError, match="DataModule must implement"):
        trainer(tmp_path).fit(Recorder(), unsaid)


def test_the_names_load_nothing_until_they_are_touched() -> None:
    code = "import sys, litgpt.data; dir(litgpt.data); print({'torch', 'lightning'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert dir(data) == sorted(data.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Alpacka'"):
        data.Alpacka  # noqa: B018
