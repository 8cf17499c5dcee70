"""Tests of Hub errors and timeouts, as this library's exceptions."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.hub.store import HubStore
from litgpt.domain.errors import AccessDenied, HubUnreachable, LitGPTError, ModelNotFound
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from tests.adapters import hub_repositories as repositories
from tests.adapters.loopback_hub import LONG, LoopbackHub, refused_port, silent_port

TINY = ModelReference("org/tiny")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(hub: LoopbackHub, tmp_path: Path) -> HubStore[Any]:
    return at(hub.endpoint, tmp_path)


def at(endpoint: str, tmp_path: Path, patience: float = LONG) -> HubStore[Any]:
    return HubStore(open_hf_folder, endpoint=endpoint, cache_dir=tmp_path / "cache", timeout=patience)


# Names


@pytest.mark.parametrize(
    "name", ["tiny", "a/b/c", "./org/tiny", "../tiny", "org/tiny/", "/org/tiny", "org tiny", "C:\\models"]
)
def test_an_invalid_repository_name_is_not_requested(
    hub: LoopbackHub, store: HubStore[Any], name: str
) -> None:
    with pytest.raises(ModelNotFound) as caught:
        store.open(ModelReference(name))
    assert caught.value.name == name
    assert hub.requests == []


def test_a_name_that_huggingface_hub_refuses_is_not_found(store: HubStore[Any]) -> None:
    with pytest.raises(ModelNotFound, match=r"org/ti--ny"):
        store.open(ModelReference("org/ti--ny"))


@pytest.mark.parametrize("revision", ["../../secret", "/etc/passwd", "a b", "C:x", ""])
def test_an_invalid_revision_is_not_requested(hub: LoopbackHub, store: HubStore[Any], revision: str) -> None:
    with pytest.raises(ModelNotFound):
        store.open(attrs.evolve(TINY, revision=revision))
    assert hub.requests == []


def test_a_short_name_of_the_catalogue_resolves_to_its_repository(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    repositories.one_file(hub.root / "TinyLlama" / "TinyLlama-1.1B-Chat-v1.0")
    checkpoint = store.open(ModelReference("tiny-llama-1.1b-chat"))
    assert checkpoint.name == "tiny-llama-1.1b-chat"
    assert "TinyLlama/TinyLlama-1.1B-Chat-v1.0" in checkpoint.origin


def test_similar_names_are_suggested_for_a_misspelled_short_name(store: HubStore[Any]) -> None:
    with pytest.raises(ModelNotFound, match=r"Did you mean SmolLM2-135M-Instruct"):
        store.open(ModelReference("SmolLM2-135M-Instuct"))


def test_names_to_suggest_are_those_of_the_cache_and_of_the_catalogue(store: HubStore[Any]) -> None:
    store.open(TINY)
    names = list(store.names())
    assert names[0] == "org/tiny"
    assert {"meta-llama/Llama-3.2-1B", "Llama-3.2-1B"} <= set(names)


# Refusals


def test_an_unknown_repository_is_not_found_and_may_be_private(store: HubStore[Any]) -> None:
    with pytest.raises(ModelNotFound, match=r"'org/unknown'.*127\.0\.0\.1.*If it is private.*HF_TOKEN"):
        store.open(ModelReference("org/unknown"))


def test_an_unknown_revision_is_named(store: HubStore[Any]) -> None:
    with pytest.raises(ModelNotFound, match=r"The repository exists, but has no revision 'v9'"):
        store.open(attrs.evolve(TINY, revision="v9"))


def test_a_gated_repository_is_an_error_with_the_page_to_accept(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    hub.gated.add("org/tiny")
    with pytest.raises(AccessDenied, match=rf"{hub.endpoint}/org/tiny.*HF_TOKEN"):
        store.open(TINY)


def test_a_private_repository_opens_with_its_token_alone(hub: LoopbackHub, store: HubStore[Any]) -> None:
    hub.private["org/tiny"] = "hf_right"
    with pytest.raises(ModelNotFound):
        store.open(attrs.evolve(TINY, token="hf_other"))  # noqa: S106
    checkpoint = store.open(attrs.evolve(TINY, token="hf_right"))  # noqa: S106
    checkpoint.fetch(null_reporter)
    assert checkpoint.read("model.norm.weight").shape == (8,)


def test_a_rejected_token_is_reported_and_not_shown(hub: LoopbackHub, store: HubStore[Any]) -> None:
    hub.bad_tokens.add("hf_expired")
    with pytest.raises(AccessDenied, match=r"the token is not valid") as caught:
        store.open(attrs.evolve(TINY, token="hf_expired"))  # noqa: S106
    error: BaseException | None = caught.value
    while error is not None:
        assert "hf_expired" not in f"{error} {error!r}"
        error = error.__cause__


# No answer


@pytest.mark.parametrize(("status", "message"), [(503, "503 Service Unavailable"), (429, "429 Too Many")])
def test_a_failing_hub_is_unreachable_without_retries(
    hub: LoopbackHub, store: HubStore[Any], status: int, message: str
) -> None:
    hub.broken_with = status
    with pytest.raises(HubUnreachable, match=message):
        store.open(TINY)
    assert len(hub.requests) == 1


def test_a_server_that_is_not_a_hub_is_recognized(hub: LoopbackHub, store: HubStore[Any]) -> None:
    hub.broken_with = 200
    with pytest.raises(HubUnreachable, match=r"does not respond like a Hugging Face Hub"):
        store.open(TINY)


def test_a_closed_port_is_tried_once(tmp_path: Path) -> None:
    with pytest.raises(HubUnreachable, match=r"no connection to the Hugging Face Hub at http://127\.0\.0\.1"):
        at(refused_port(), tmp_path).open(TINY)


def test_a_silent_port_is_waited_for_until_the_timeout(tmp_path: Path) -> None:
    with silent_port() as endpoint, pytest.raises(HubUnreachable, match=r"did not respond in time"):
        at(endpoint, tmp_path, patience=0.2).open(TINY)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:80", "http://[", "http://127.0.0.1:99999", ""])
def test_an_invalid_url_is_unreachable(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(HubUnreachable):
        at(endpoint, tmp_path).open(TINY)


def test_a_hub_that_goes_away_between_opening_and_fetching_is_unreachable(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    checkpoint = store.open(TINY)
    hub.gated.add("org/tiny")
    with pytest.raises(AccessDenied):
        checkpoint.fetch(null_reporter)
    hub.gated.clear()
    checkpoint.fetch(null_reporter)  # a failed download may be retried
    assert checkpoint.read("model.norm.weight").shape == (8,)


def run(code: str, **environment: str) -> str:
    """Run Python code with another environment, which huggingface_hub reads on import."""
    variables = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


OPEN = """
from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.hub.store import HubStore
from litgpt.domain.errors import LitGPTError
from litgpt.domain.reference import ModelReference
from litgpt.domain.progress import null_reporter

def attempt(**settings):
    try:
        checkpoint = HubStore(open_hf_folder, **settings).open(ModelReference("org/tiny"))
        checkpoint.fetch(null_reporter)
        print(checkpoint.origin)
    except LitGPTError as error:
        print(type(error).__name__, error)
"""


def test_environment_variables_set_endpoint_cache_and_offline_mode(hub: LoopbackHub, tmp_path: Path) -> None:
    elsewhere = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    code = f"{OPEN}\nattempt()"
    assert run(code, HF_HUB_OFFLINE="1", **elsewhere).startswith("HubUnreachable 'org/tiny' is not in the")
    assert hub.requests == []
    assert f"org/tiny at commit {hub.commit('org/tiny')[:12]}" in run(code, HF_HUB_OFFLINE="0", **elsewhere)
    assert list((tmp_path / "home" / "hub" / "models--org--tiny" / "snapshots").iterdir())


def test_a_storage_that_never_answers_is_given_up(hub: LoopbackHub, tmp_path: Path) -> None:
    settings = f"endpoint={hub.endpoint!r}, stall_timeout=0.5"
    with silent_port() as hub.storage:
        output = run(f"{OPEN}\nattempt({settings})", HF_HOME=str(tmp_path / "home"))
    assert output.startswith("HubUnreachable 'org/tiny'")
    assert "HF_HUB_DISABLE_XET=1" in output


def test_aborting_one_download_does_not_affect_others_of_the_process(
    hub: LoopbackHub, tmp_path: Path
) -> None:
    """All Xet downloads share one session, which used to be aborted as a whole."""
    settings = f"endpoint={hub.endpoint!r}, stall_timeout=0.5"
    before = "from huggingface_hub.utils._xet import get_xet_session\nsession = get_xet_session()"
    with silent_port() as hub.storage:
        code = f"{OPEN}\n{before}\nattempt({settings})\nprint('the same', get_xet_session() is session)"
        output = run(code, HF_HOME=str(tmp_path / "home"))
    assert output.startswith("HubUnreachable 'org/tiny'")
    assert output.strip().endswith("the same True")


def test_every_hub_error_is_a_litgpt_error(hub: LoopbackHub, store: HubStore[Any]) -> None:
    for status in (400, 401, 403, 404, 408, 410, 418, 451, 500, 502, 504, 599):
        hub.broken_with = status
        with pytest.raises(LitGPTError, match=r"org/tiny"):
            store.open(TINY)
