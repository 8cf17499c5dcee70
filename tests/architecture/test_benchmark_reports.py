"""Tests of the reports of `make bench`, from results as the workers print them."""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.repository import ROOT

WORKER = {
    "package": "litgpt",
    "version": "1",
    "torch": "2",
    "torch_bytes": 100_000_000,
    "import_s": 1.0,
    "imported_bytes": 150_000_000,
    "first_load_s": 0.5,
    "load_s": 0.25,
    "loaded_bytes": 200_000_000,
    "cold_first_token_s": 0.1,
    "first_token_10_s": 0.04,
    "first_token_512_s": 1.0,
    "prefill_tokens_per_s": 512.0,
    "decode_tokens_per_s": 50.0,
    "answer": [1, 2, 3],
    "peak_bytes": 300_000_000,
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def speed_round() -> dict[str, Any]:
    """Return a round in which the native engine decodes at twice the speed of the others."""
    native = WORKER | {"decode_tokens_per_s": 100.0, "batch_tokens_per_s": 300.0, "weight_bytes": 100_000_000}
    peer = WORKER | {"batch_tokens_per_s": 100.0}
    names = {f"native {it}": native for it in ("Q4_1", "Q4_0", "Q8_0", "BF16", "F32")}
    names |= {f"llama.cpp {it}": peer for it in ("Q4_1", "Q4_0", "Q8_0", "BF16")}
    others = {"torch engine BF16": peer, "transformers F32": peer, "LitGPT BF16": WORKER}
    return {"bandwidth": {"bytes_per_s": 20e9}, **names, **others}


def with_unavailable(measured: dict[str, Any], *names: str) -> dict[str, Any]:
    return measured | {name: {"unavailable": "installing it ended with status 1"} for name in names}


def rows(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def engine_results() -> dict[str, Any]:
    """Return results of which every ratio is a round number."""
    taken = {"on": [2.0, 2.2], "off": [2.0, 2.0]}
    first = {
        "native": {"tokens_per_s": 1200.0},
        "llama.cpp's server": {"tokens_per_s": 400.0},
        "transformers": {"tokens_per_s": 400.0},
        "scoring": {"seconds": 10.0, "logprobs": [[-1.0, -2.0], [-3.0, -2.0]], "labels": [0, 0]},
        "lm-eval": {"seconds": 40.0, "logprobs": [[-1.1, -2.0], [-3.0, -2.1]]},
    }
    return {
        "format": "Q4_1",
        "mixed": {"mixed": 900.0, "equal": 1000.0, "answer_share": 0.3},
        "threads": {"list_s": 1.0, "threads_s": 1.2, "tokens": 1024},
        "long_prompt": {"alone_s": [0.004, 0.005, 0.009], "during_s": [0.014, 0.018, 0.01], "prompt_s": 5.0},
        "prefix": {"shared_s": 2.0, "other_s": 30.0, "events": 256},
        "schema": taken,
        "repeated": {"on": [1.0, 1.0], "off": [2.0, 2.0]},
        "other": {"on": [1.0, 1.0], "off": [0.9, 0.9]},
        "samplers": {"on": [2.0, 2.0], "off": [1.9, 1.9], "steps": 10, "vocab_size": 151_936},
        "rounds": [first, first],
        "dtype": "bfloat16",
        "requests": 256,
        "slow_requests": 64,
        "rows": 4,
    }


def test_the_report_of_the_engine_compares_with_its_goals() -> None:
    table = rows(import_module("engine_report").report(engine_results()))[2:]
    assert [row[2:] for row in table] == [
        ["90% (900 / 1000)", "yes"],
        ["83%", "**no**"],
        ["2.8 (14 / 5 ms)", "yes"],
        ["15.0", "yes"],
        ["1.05", "yes"],
        ["2.00", "yes"],
        ["0.90", "**no**"],
        ["5% (of 200 ms)", "yes"],
        ["3.00 (1200 / 400)", "yes"],
        ["3.00 (1200 / 400)", "**no**"],
        ["4.00", "yes"],
        ["50.0% / 50.0%", "yes"],
    ]


def test_the_report_of_the_engine_names_a_peer_that_is_unavailable() -> None:
    results = engine_results()
    missing = {"unavailable": "CMake is missing"}
    results["rounds"] = [it | {"llama.cpp's server": missing, "lm-eval": missing} for it in results["rounds"]]
    table = rows(import_module("engine_report").report(results))[2:]
    assert [row[2:] for row in table[8:]] == [
        ["unavailable: CMake is missing", ""],
        ["3.00 (1200 / 400)", "**no**"],
        ["unavailable: CMake is missing", ""],
        ["unavailable: CMake is missing", ""],
    ]


def test_accuracies_that_differ_are_not_the_same() -> None:
    results = engine_results()
    other = {"seconds": 40.0, "logprobs": [[-3.0, -2.0], [-3.0, -2.1]]}
    results["rounds"] = [it | {"lm-eval": other} for it in results["rounds"]]
    assert rows(import_module("engine_report").report(results))[-1][2:] == ["50.0% / 0.0%", "**no**"]


def test_a_row_per_engine_and_format_has_medians_and_the_share_of_the_bandwidth() -> None:
    report = import_module("speed_report")
    fast = speed_round()
    fast["native Q4_1"] = fast["native Q4_1"] | {"decode_tokens_per_s": 120.0}
    table = rows(report.table([speed_round(), fast, speed_round()]))
    assert [row[1] for row in table].count("**native**") == 5
    native = next(row for row in table if row[1] == "**native**")
    # 100 tokens/s of 100 MB are half of 20 GB/s.
    assert native[2:] == ["0.50", "40", "1000", "100.0", "50%", "300", "300", "150"]
    (limit,) = {row[5] for row in table if row[1] == "limit of the bandwidth"}
    assert limit == "200.0"
    litgpt = next(row for row in table if row[1] == "LitGPT")
    assert litgpt[7] == ""  # it has no batches


@pytest.mark.parametrize(
    ("has_bf16", "goal", "reached"), [(True, "≥ 2.50", "**no**"), (False, "≥ 1.70", "yes")]
)
def test_goals_are_those_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, *, has_bf16: bool, goal: str, reached: str
) -> None:
    report = import_module("speed_report")
    monkeypatch.setattr(report, "has_bf16_products", lambda: has_bf16)
    goals = {row[0]: row[1:] for row in rows(report.goals([speed_round()]))}
    assert goals["decode, 4 bits / llama.cpp, the same file"] == [goal, "2.00", reached]
    assert goals["32 prompts, 4 bits / llama.cpp, the same file"][1] == "3.00"
    assert goals["first token, 10 tokens / the best peer"][1:] == ["1.00", "**no**"]
    assert goals["peak memory above the imported library / weights"][1] == "1.50"
    assert len(report.report([speed_round()])) > len(goals)


def test_an_unavailable_peer_is_named_with_the_reason_and_the_others_are_compared() -> None:
    report = import_module("speed_report")
    lines = report.report([with_unavailable(speed_round(), "CTranslate2 Q8_0")])
    row = next(row for row in rows(lines) if row[1].startswith("CTranslate2"))
    assert row[1:] == ["CTranslate2 (unavailable: installing it ended with status 1)", *[""] * 8]
    assert ["load, s", "≤ 0.20", "0.50", "**no**"] in rows(lines)


def test_a_goal_without_its_peer_is_left_open() -> None:
    report = import_module("speed_report")
    names = [name for name in speed_round() if name.startswith("llama.cpp")]
    goals = {row[0]: row[1:] for row in rows(report.goals([with_unavailable(speed_round(), *names)]))}
    assert goals["decode, 8 bits / llama.cpp"][1:] == ["", ""]
    assert goals["32 prompts, 4 bits / llama.cpp, the same file"][1:] == ["", ""]
    assert goals["… / the best peer"][1] == "3.00"


def test_weights_in_a_format_of_the_peer_have_no_share_of_the_bandwidth() -> None:
    report = import_module("speed_report")
    peer = speed_round()["llama.cpp Q8_0"]
    results = [speed_round() | {"OpenVINO Q8_0": peer, "CTranslate2 Q8_0": peer}]
    shares = {row[1]: row[6] for row in rows(report.table(results))}
    assert (shares["OpenVINO"], shares["CTranslate2"]) == ("25%", "")


def test_peers_are_compared_within_rounds() -> None:
    report = import_module("peers_report")
    contestant = dict.fromkeys(("this library", "transformers", "litgpt", "gguf"), WORKER)
    contestant["this library"] = WORKER | {"decode_tokens_per_s": 125.0}
    start = {"import_torch_s": 1.0, "help_s": 0.1}
    lines = report.report([contestant | {"start": start}])
    decode = next(row for row in rows(lines) if row[0] == "decode, tokens/s")
    assert decode[1:] == ["125.0", "50.0", "50.0", "2.50 x", "2.50 x"]


def test_growth_is_reported_by_context_and_by_weights() -> None:
    growth = import_module("growth")
    contexts = {"token_s": dict.fromkeys(growth.CONTEXTS, 0.01)}
    results: dict[str, Any] = {"bandwidth": 20e9, "native contexts": contexts, "llama.cpp contexts": contexts}
    for name in growth.MODELS:
        results[f"native {name}"] = {"token_s": {"10": 0.01}, "weight_bytes": 100_000_000}
        results[f"llama.cpp {name}"] = {"token_s": {"10": 0.02}}
    table = rows(growth.report(results))
    assert ["native", *["10.0"] * len(growth.CONTEXTS)] in table
    assert table[-1][1:] == ["100", "10.0", "20.0", "2.00", "50%"]


@pytest.mark.parametrize(("native", "reached"), [(45.0, True), (39.0, False), (41.0, False)])
def test_the_share_on_a_busy_machine_is_compared_with_the_goal_and_llama_cpp(
    *, native: float, reached: bool
) -> None:
    busy = import_module("busy")
    idle = {"idle_tokens_per_s": 100.0, "busy_slowest_s": 0.1}
    results = {
        "native": idle | {"busy_tokens_per_s": native},
        "llama.cpp": idle | {"busy_tokens_per_s": 42.0},
    }
    assert busy.report([results])[-1].endswith(": reached." if reached else ": **not reached**.")


def test_each_format_is_compared_with_torch() -> None:
    perplexity = import_module("perplexity")
    results = {"Q8_0": {"native": {"news": 10.005}, "torch": {"news": 10.0}}}
    results["F32"] = {"native": {"news": 10.02}, "torch": {"news": 10.0}}
    table = rows(perplexity.report(results))
    assert table[2][1:] == ["10.005", "10.000", "+0.05%", "± 0.1%", "yes"]
    assert table[3][-1] == "**no**"


def test_the_plot_of_speed_leaves_out_who_is_unavailable(tmp_path: Path) -> None:
    plots, peer = import_module("plots"), speed_round()["llama.cpp Q8_0"]
    results = with_unavailable(speed_round() | {"OpenVINO Q8_0": peer}, "CTranslate2 Q8_0")
    (tmp_path / "results.json").write_text(json.dumps([results]), encoding="utf-8")
    plots.main("speed", tmp_path / "results.json", tmp_path / "plot.svg")
    drawn = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert "OpenVINO" in drawn
    assert "CTranslate2" not in drawn


@pytest.mark.parametrize("part", ["speed", "growth"])
def test_plots_of_equal_results_are_equal(part: str, tmp_path: Path) -> None:
    plots, growth = import_module("plots"), import_module("growth")
    contexts = {"token_s": dict.fromkeys(growth.CONTEXTS, 0.01)}
    results: Any = {"native contexts": contexts, "llama.cpp contexts": contexts}
    if part == "speed":
        results = [speed_round()]
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    for name in ("one.svg", "other.svg"):
        plots.main(part, tmp_path / "results.json", tmp_path / name)
    drawn = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert drawn == (tmp_path / "other.svg").read_text(encoding="utf-8")
    assert "llama.cpp" in drawn


def test_a_report_replaces_that_of_its_part_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks, bench = import_module("blocks"), import_module("bench")
    text = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8")
    copy = tmp_path / "BENCHMARKS.md"
    copy.write_text(text, encoding="utf-8")
    monkeypatch.setattr(blocks, "BENCHMARKS", copy)
    for part in bench.PARTS:
        blocks.publish(part, [f"the results of {part}"], threads=2, load=None)
    written = copy.read_text(encoding="utf-8")
    assert [written.count(f"the results of {part}\n<!-- {part}: end -->") for part in bench.PARTS] == [
        1
    ] * len(bench.PARTS)
    assert written.count("<!--") == text.count("<!--")
    assert "the results of busy" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no place for other"):
        blocks.publish("other", [], threads=2, load=None)


def test_modules_of_the_benchmarks_do_not_hide_others() -> None:
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert not names & sys.stdlib_module_names
