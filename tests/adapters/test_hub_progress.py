"""Tests of the progress bar that is passed to huggingface_hub, and of its totals."""

from threading import Event

import pytest

from litgpt.adapters.hub.progress import DownloadAbandoned, DownloadProgress, make_tqdm_class
from litgpt.domain.progress import Notice, Progress


@pytest.fixture
def reported() -> list[Notice | Progress]:
    return []


@pytest.fixture
def meter(reported: list[Notice | Progress]) -> DownloadProgress:
    return DownloadProgress("Downloading", 100, reported.append)


def done(events: list[Notice | Progress]) -> list[float]:
    return [event.completed for event in events if isinstance(event, Progress)]


def test_files_one_after_another_add_up(meter: DownloadProgress, reported: list[Notice | Progress]) -> None:
    for size in (60, 40):
        with make_tqdm_class(meter, Event(), Event())(
            total=size, unit="B", unit_scale=True, desc="a file"
        ) as bar:
            bar.update(size // 2)
            bar.update(size // 2)
        meter.complete_file(size)
    assert done(reported) == [30, 60, 80, 100]


def test_a_file_counts_as_a_whole_once_it_is_there_however_its_bytes_were_counted(
    meter: DownloadProgress, reported: list[Notice | Progress]
) -> None:
    make_tqdm_class(meter, Event(), Event())(total=60).update(7)
    meter.complete_file(60)
    assert done(reported) == [7, 60]


def test_a_restarted_file_subtracts_its_bytes(
    meter: DownloadProgress, reported: list[Notice | Progress]
) -> None:
    bar = make_tqdm_class(meter, Event(), Event())(total=60, initial=20)
    bar.update(30)
    bar.update(-50)
    bar.update(10)
    assert done(reported) == [20, 50, 0, 10]
    assert bar.n == 10


def test_progress_never_exceeds_the_total_and_ends_once(
    meter: DownloadProgress, reported: list[Notice | Progress]
) -> None:
    make_tqdm_class(meter, Event(), Event())(total=100).update(1000)
    meter.complete_file(100)
    assert done(reported) == [100]


def test_bytes_on_the_wire_reset_the_stall_timeout_without_progress(
    meter: DownloadProgress, reported: list[Notice | Progress]
) -> None:
    moved = Event()
    make_tqdm_class(meter, moved, Event())(total=60).update_transfer(10)
    assert moved.is_set()
    assert reported == []


def test_uncounted_bytes_reset_the_stall_timeout_too() -> None:
    moved = Event()
    make_tqdm_class(None, moved, Event())(total=60).update(10)
    assert moved.is_set()


def test_a_download_that_was_given_up_ends_at_its_next_byte() -> None:
    given_up = Event()
    bar = make_tqdm_class(None, Event(), given_up)(total=60)
    bar.update(10)
    given_up.set()
    with pytest.raises(DownloadAbandoned):
        bar.update(10)
