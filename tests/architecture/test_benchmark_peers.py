"""Tests of how `make bench` prepares its peers and runs them."""

import json
import platform
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.repository import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_a_command_that_fails_is_reported_by_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    environments = import_module("environments")
    script = "import sys; print('first', file=sys.stderr); sys.exit('no wheel for this system')"
    with pytest.raises(environments.Unavailable, match="trying ended with status 1: no wheel for this"):
        environments.checked("trying", [sys.executable, "-c", script])
    assert "first" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals of this kind")
def test_a_command_that_a_signal_ends_is_reported_by_its_name() -> None:
    environments = import_module("environments")
    script = f"import os; os.kill(os.getpid(), {int(signal.SIGILL)})"
    with pytest.raises(environments.Unavailable, match="trying ended with SIGILL"):
        environments.checked("trying", [sys.executable, "-c", script])


def test_an_installation_that_fails_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environments = import_module("environments")
    (tmp_path / "requirements-some.txt").write_text("-r not-here.txt\n", encoding="utf-8")
    for name in ("HERE", "ROOT", "BENCH"):
        monkeypatch.setattr(environments, name, tmp_path)
    (tmp_path / "constraints.txt").touch()
    for _ in range(2):
        with pytest.raises(environments.Unavailable, match="installing some ended with status"):
            environments.python_of("some")
    assert capsys.readouterr().err.count("Installing some in some") == 1


def test_an_unavailable_peer_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    speed, environments = import_module("speed"), import_module("environments")
    tried: list[str] = []

    def model() -> Path:
        tried.append("CTranslate2")
        raise environments.Unavailable("converting for it failed")

    own = speed.native(Path(__file__), "Q8_0")
    peer = speed.Contestant("CTranslate2", "Q8_0", "ctranslate2", model)
    monkeypatch.setattr(speed, "contestants", lambda: [peer, own])
    monkeypatch.setattr(speed, "python_of", lambda _: sys.executable)
    monkeypatch.setattr(speed, "read_bandwidth", lambda _: 20e9)
    monkeypatch.setattr(speed, "run_worker", lambda *_, **__: {"decode_tokens_per_s": 1.0})
    for measured in speed.measure(2, 1):
        assert measured["native Q8_0"] == {"decode_tokens_per_s": 1.0}
        assert measured["CTranslate2 Q8_0"] == {"unavailable": "converting for it failed"}
    assert len(tried) == 1


def test_a_failure_of_this_library_stops_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    speed, environments = import_module("speed"), import_module("environments")

    def run(*_: Any, **__: Any) -> dict[str, Any]:
        raise environments.Unavailable("worker_litgpt.py ended with status 1")

    monkeypatch.setattr(speed, "contestants", lambda: [speed.native(Path(__file__), "Q8_0")])
    monkeypatch.setattr(speed, "read_bandwidth", lambda _: 20e9)
    monkeypatch.setattr(speed, "run_worker", run)
    with pytest.raises(SystemExit, match="worker_litgpt"):
        speed.measure(1, 1)


def test_a_peer_that_converts_has_an_environment_and_a_worker_of_its_name() -> None:
    speed = import_module("speed")
    for engine in speed.CONVERTING:
        peer = speed.converting(engine, Path("model"), "Q8_0").peer
        assert (BENCHMARKS / f"requirements-{peer}.txt").is_file()
        assert (BENCHMARKS / f"worker_{peer.replace('-', '_')}.py").is_file()


@pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("g++") is None, reason="needs g++ for x86-64"
)
def test_the_sizes_of_the_tiles_are_stored_before_they_are_loaded() -> None:
    code = """
    #include <immintrin.h>
    void load() { alignas(64) unsigned char tiles[64] = {1}; tiles[52] = 77; _tile_loadconfig(tiles); }
    """
    options = ("-O3", "-mamx-tile", "-include", str(BENCHMARKS / "amx_tiles.h"), "-xc++", "-S", "-o-", "-")
    run = subprocess.run(["g++", *options], input=code, capture_output=True, text=True, check=True)
    assert "ldtilecfg" in run.stdout
    assert "77" in run.stdout


def test_the_parts_of_the_rounds_are_all_requests_once() -> None:
    engine, workload = import_module("engine"), import_module("workload")
    found = [it for part in engine.parts(256) for it in workload.mixed_requests(part.start, part.stop)]
    assert found == workload.mixed_requests()
    assert len(found) == 256
    lengths = [len(prompt) for prompt, _ in found], [count for _, count in found]
    assert [(min(it), max(it)) for it in lengths] == [(8, 394), (8, 199)]  # of 8 to 400, and 8 to 200


def test_the_requests_that_take_turns_are_the_same_for_a_slow_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a rate over fewer of them is of the same mix; a peer that fails is not tried again."""
    engine, environments = import_module("engine"), import_module("environments")
    calls: list[tuple[str, ...]] = []

    def run(_: object, worker: str, *arguments: object, threads: int) -> dict[str, Any]:
        del threads
        calls.append((worker, *map(str, arguments[2:4])))
        if worker == "lm_eval":
            raise environments.Unavailable("no wheel")
        return {"tokens_per_s": 1.0}

    for name in ("prepare_folder", "llama_server", "python_of"):
        monkeypatch.setattr(engine, name, lambda *_: Path("there"))
    monkeypatch.setattr(engine, "hellaswag", lambda _: Path("rows.json"))
    monkeypatch.setattr(engine, "run_worker", run)
    found = engine.measure_peers(Path("model.gguf"), 2)
    assert calls == [
        ("engine", "0", "128"),
        ("llama_server", "0", "128"),
        ("continuous_batching", "0", "32"),
        ("scoring", "0", "100"),
        ("lm_eval", "0", "100"),
        ("engine", "128", "256"),
        ("llama_server", "128", "256"),
        ("continuous_batching", "128", "160"),
        ("scoring", "100", "200"),
    ]
    assert [it["lm-eval"] for it in found["rounds"]] == [{"unavailable": "no wheel"}] * 2


def test_the_engine_is_measured_without_texts_to_score_and_without_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, environments = import_module("engine"), import_module("environments")

    def missing(*_: object) -> Path:
        raise environments.Unavailable("no CMake")

    for name in ("prepare_folder", "python_of"):
        monkeypatch.setattr(engine, name, lambda *_: Path("there"))
    for name in ("hellaswag", "llama_server"):
        monkeypatch.setattr(engine, name, missing)
    monkeypatch.setattr(engine, "run_worker", lambda *_, **__: {"tokens_per_s": 1.0})
    reason = {"unavailable": "no CMake"}
    peers = {"llama.cpp's server": reason, "scoring": reason, "lm-eval": reason}
    own = {"native": {"tokens_per_s": 1.0}, "transformers": {"tokens_per_s": 1.0}}
    assert engine.measure_peers(Path("model.gguf"), 2)["rounds"] == [own | peers] * 2


def test_the_server_is_compiled_again_when_its_version_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = import_module("llama_server")
    for name in ("HERE", "BENCH"):
        monkeypatch.setattr(server, name, tmp_path)
    for name in ("requirements-llama-cpp.txt", "amx_tiles.h"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    builds: list[Path] = []

    def compiled(folder: Path) -> Path:
        builds.append(folder)
        (folder / "bin").mkdir()
        for name in ("llama-server", "llama-server.exe"):
            (folder / "bin" / name).touch()
        return folder

    monkeypatch.setattr(server, "_compile", compiled)
    monkeypatch.setattr(server.shutil, "which", lambda _: "cmake")
    assert server.llama_server() == server.llama_server()
    assert len(builds) == 1
    (tmp_path / "requirements-llama-cpp.txt").write_text("2", encoding="utf-8")
    assert server.llama_server().is_file()
    assert len(builds) == 2
    monkeypatch.setattr(server.shutil, "which", lambda _: None)
    (tmp_path / "requirements-llama-cpp.txt").write_text("3", encoding="utf-8")
    with pytest.raises(server.Unavailable, match="CMake, which is not installed"):
        server.llama_server()
    assert capsys.readouterr().err.count("Compiling llama-server") == 2


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # all clients connect at once


class _Handler(BaseHTTPRequestHandler):
    """Answers as llama.cpp's server does."""

    def do_GET(self) -> None:
        self._send({"status": "ok"})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert request["ignore_eos"]
        self._send({"tokens_predicted": request["n_predict"]})

    def log_message(self, *_: object) -> None: ...

    def _send(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_the_clients_of_the_server_send_all_requests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = import_module("worker_llama_server")
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(worker, "running", lambda *_: nullcontext(server.server_port))
        monkeypatch.setattr(sys, "argv", ["worker", "model.gguf", "--server", "there", "--part", "0", "40"])
        worker.main()
        server.shutdown()
        thread.join()
    assert json.loads(capsys.readouterr().out)["tokens_per_s"] > 0


def test_a_server_that_ends_is_reported(tmp_path: Path) -> None:
    worker = import_module("worker_llama_server")
    with (
        pytest.raises(SystemExit, match="llama-server ended with status"),
        worker.running(sys.executable, tmp_path, 1),
    ):
        pass


def test_rows_are_prepared_as_by_lm_eval() -> None:
    row = {
        "activity_label": "Baking cookies",
        "ctx_a": "A woman bakes  [step] cookies.",
        "ctx_b": "she",
        "endings": ["eats one [title] Then she rests.", "sings."],
        "label": "1",
    }
    assert import_module("worker_lm_eval").row_of(row) == {
        "context": "Baking cookies: A woman bakes  cookies. She",
        "endings": [" eats one. Then she rests.", " sings."],
        "label": 1,
    }
