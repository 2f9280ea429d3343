"""Readers that report and stop."""

from __future__ import annotations

import pytest

from provender.storage.verify import BytesReader
from provender.transfer.pool import Cancellation, Cancelled
from provender.transfer.progress import NO_PROGRESS, NoProgress, WatchedReader


class Heard(NoProgress):
    def __init__(self) -> None:
        self.bytes = 0

    def advance(self, task: int, n: int, /) -> None:
        assert task == 7
        self.bytes += n


def test_a_watched_reader_reports_every_byte_once() -> None:
    heard = Heard()
    with WatchedReader(BytesReader(b"x" * 1000), heard, 7, Cancellation()) as reader:
        while reader.read(300):
            pass
    assert heard.bytes == 1000


def test_a_watched_reader_stops_once_cancelled() -> None:
    cancellation = Cancellation()
    reader = WatchedReader(BytesReader(b"xy"), NO_PROGRESS, 0, cancellation)
    assert reader.read(1) == b"x"
    cancellation.cancel()
    with pytest.raises(Cancelled):
        reader.read(1)
