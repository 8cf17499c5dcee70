"""Tests of how `make bench` prepares its peers and runs them."""

import platform
import shutil
import signal
import subprocess
import sys
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
