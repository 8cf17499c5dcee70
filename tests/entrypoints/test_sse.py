"""The parser of server-sent events: any pieces, and streams that are too long."""

import io

import pytest

from litgpt.cli.remote.errors import RequestFailed
from litgpt.cli.remote.sse import MAX_EVENT, MAX_LINE, read_events


def events(raw: bytes) -> list[str]:
    return list(read_events(io.BytesIO(raw)))


def test_events_are_their_data() -> None:
    assert events(b'data: {"a": 1}\n\ndata: [DONE]\n\n') == ['{"a": 1}', "[DONE]"]


def test_line_ends_spaces_names_and_comments() -> None:
    raw = b"\xef\xbb\xbfevent: x\r\nid: 3\r\ndata:one\r\ndata:  two\r\n\r\n: ping\n\n\ndata\n\nretry: 5\n\n"
    assert events(raw) == ["one\n two", "", ""]


def test_an_event_that_the_end_cuts_off_is_dropped() -> None:
    assert events(b"data: 1\n\ndata: 2\n") == ["1"]
    assert events(b"data: 1\n\ndata: 2") == ["1"]
    assert events(b"") == []


def test_lines_and_events_have_a_bounded_length() -> None:
    with pytest.raises(RequestFailed, match="line that is too long"):
        events(b"data: " + b"x" * MAX_LINE)
    line = b"data: " + b"x" * (MAX_LINE // 2) + b"\n"
    with pytest.raises(RequestFailed, match="event that is too long"):
        events(line * (2 * MAX_EVENT // MAX_LINE + 1))


def test_data_is_utf_8() -> None:
    assert events("data: é\n\n".encode()) == ["é"]
    with pytest.raises(RequestFailed, match="UTF-8"):
        events(b"data: \xff\n\n")
