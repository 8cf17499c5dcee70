"""Tests of passwords in URLs and of access tokens: they are used, and never printed."""

import logging
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.hub.store import HubStore
from litgpt.domain.errors import (
    AccessDenied,
    HubUnreachable,
    InvalidArgument,
    LitGPTError,
    NotInstalled,
    WrongType,
)
from litgpt.domain.formatting.redaction import redact
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from tests.adapters.loopback_hub import LONG, LoopbackHub, refused_port

PASSWORD = "geheim-7f3a"  # noqa: S105 - planted, to be looked for
TOKEN = "hf_PlantedTokenPlantedToken1234"  # noqa: S105 - likewise


def behind_a_password(endpoint: str, tmp_path: Path) -> HubStore[Any]:
    parts = urlsplit(endpoint)
    address = f"http://ada:{PASSWORD}@{parts.netloc}"
    return HubStore(open_hf_folder, endpoint=address, cache_dir=tmp_path / "cache", timeout=LONG)


def error_output(store: HubStore[Any], reference: ModelReference) -> str:
    """Return all text that a program would show of the error: message, repr, and traceback with causes."""
    with pytest.raises(LitGPTError) as caught:
        store.open(reference).close()
    return "".join(traceback.format_exception(caught.value)) + str(caught.value) + repr(caught.value)


def test_no_message_of_a_hub_that_refuses_or_fails_shows_a_secret(
    hub: LoopbackHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = behind_a_password(hub.endpoint, tmp_path)
    tiny = ModelReference("org/tiny", token=TOKEN)
    output = [
        store.location,
        repr(store),
        repr(tiny),
        str(tiny),
        error_output(store, ModelReference("org/none", token=TOKEN)),
    ]
    hub.gated.add("org/tiny")
    output.append(error_output(store, tiny))
    hub.gated.clear()
    hub.broken_with = 503
    output.append(error_output(store, tiny))
    gone = behind_a_password(refused_port(), tmp_path)
    output.append(error_output(gone, tiny))
    hub.broken_with = None
    checkpoint = store.open(tiny)
    output += [checkpoint.origin, repr(checkpoint)]
    checkpoint.close()
    output += [record.getMessage() for record in caplog.records]
    for text in output:
        assert PASSWORD not in text
        assert TOKEN not in text


def test_a_traceback_of_an_unreachable_hub_is_short(tmp_path: Path) -> None:
    gone = behind_a_password(refused_port(), tmp_path)
    assert len(error_output(gone, ModelReference("org/tiny")).splitlines()) < 30


@pytest.mark.parametrize("token", ["two\nlines", "two words", "t\x00ken", "tök€n", "a\rb", "a\x7fb"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(InvalidArgument, match="access_token") as caught:
        ModelReference("org/tiny", token=token)
    assert token not in str(caught.value) + repr(caught.value)


def test_a_token_of_another_type_is_refused_and_not_shown() -> None:
    with pytest.raises(WrongType, match="access_token") as caught:
        ModelReference("org/tiny", token=b"planted-bytes")
    assert "planted" not in str(caught.value)


def test_a_newline_after_a_token_in_a_file_is_stripped() -> None:
    assert ModelReference("org/tiny", token=f" {TOKEN}\n").token == TOKEN


def test_an_invalid_token_in_the_environment_is_a_litgpt_error(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted PlantedPlanted")
    store = HubStore(open_hf_folder, endpoint=hub.endpoint, cache_dir=tmp_path / "cache", timeout=LONG)
    with pytest.raises(AccessDenied, match="HF_TOKEN") as caught:
        store.open(ModelReference("org/tiny"))
    assert "lanted" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at http://a:b@host:80/x?y=1 now", "at http://host:80/x now"),
        ("https://user@host", "https://host"),
        ("https://a:p@ss@host/x", "https://host/x"),
        ("for url 'https://cdn/x?X-Amz-Signature=abc&b=c'", "for url 'https://cdn/x'"),
        ("who? ada@example.org", "who? ada@example.org"),
        ("https://host/org/model", "https://host/org/model"),
        ("https://host/x#access_token=abc now", "https://host/x now"),
        ("GET /x/y.bin?X-Amz-Signature=abc&b=c failed", "GET /x/y.bin failed"),
        ("What? a=b", "What? a=b"),
        ("'https:/a:b@host/x'", "'https:/host/x'"),
        ("'https:/host/x.jsonl?signature'", "'https:/host/x.jsonl'"),
        ("ada:b.c@host:80/org", "host:80/org"),
        ("at 12:30 ada@example.org", "at 12:30 ada@example.org"),
        ("'hf_quant_config.json' in hf_checkpoint/", "'hf_quant_config.json' in hf_checkpoint/"),
        ("hf_oauth_eyJhbGciOi.eyJzdWIi.c2ln.", "hf_…."),
        (f"Bearer {TOKEN}.", "Bearer hf_…."),
    ],
)
def test_addresses_are_printed_without_passwords_and_queries(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "address",
    [
        f"ftp://ada:{PASSWORD}@127.0.0.1:9",
        f"ada:{PASSWORD}@127.0.0.1:9",
        f"http://ada:x/{PASSWORD}@127.0.0.1:9",
        f"http://ada:{PASSWORD}#x@127.0.0.1:9",
        f"http://ada/{PASSWORD}@127.0.0.1:9",
        f"http://ada:{PASSWORD}@[127.0.0.1:9",
        f"http://127.0.0.1:9/?token={PASSWORD}",
    ],
)
def test_an_endpoint_that_is_not_an_address_is_refused_and_not_shown(tmp_path: Path, address: str) -> None:
    store = HubStore(open_hf_folder, endpoint=address, cache_dir=tmp_path / "cache")
    for secret in (PASSWORD, PASSWORD[:4]):
        assert secret not in error_output(store, ModelReference("org/tiny", token=TOKEN))
        assert secret not in store.location
    with pytest.raises(HubUnreachable, match="HF_ENDPOINT is not a valid URL"):
        store.open(ModelReference("org/tiny"))


@pytest.mark.parametrize(
    ("proxy", "kind"),
    [
        (f"ftp://ada:{PASSWORD}@127.0.0.1:9", HubUnreachable),
        (f"http://ada:{PASSWORD}#x@127.0.0.1:9", HubUnreachable),
        (f"http://ada:{PASSWORD}@127.0.0.1:port", HubUnreachable),
        (f"ada:{PASSWORD}@127.0.0.1:{{free}}", HubUnreachable),
        (f"socks5://ada:{PASSWORD}@127.0.0.1:9", NotInstalled),
    ],
)
def test_a_proxy_that_cannot_be_used_is_an_error_that_does_not_show_it(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, kind: type[LitGPTError]
) -> None:
    from huggingface_hub import close_session

    for name in ("NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy.format(free=urlsplit(refused_port()).port))
    close_session()  # the next request opens one, which reads the environment
    try:
        store = HubStore(open_hf_folder, endpoint=hub.endpoint, cache_dir=tmp_path / "cache", timeout=LONG)
        output = error_output(store, ModelReference("org/tiny", token=TOKEN))
        assert PASSWORD[:4] not in output
        with pytest.raises(kind):
            store.open(ModelReference("org/tiny"))
    finally:
        close_session()


def test_the_logs_of_other_libraries_show_no_secret(
    hub: LoopbackHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hub.signature = f"X-Amz-Signature={PASSWORD}"
    store = behind_a_password(hub.endpoint, tmp_path)
    checkpoint = store.open(ModelReference("org/tiny", token=TOKEN))
    checkpoint.fetch(null_reporter)
    checkpoint.close()
    output = [record.getMessage() for record in caplog.records]
    assert any("HTTP Request" in text and "/signed/" in text for text in output)
    assert [text for text in output if PASSWORD in text or TOKEN in text] == []
