"""What is said before the command line is there: at once, and nothing of it is kept."""

from __future__ import annotations

import io
import os
import threading

import pytest

from provender.cli.saying import said


def test_it_is_written_whole_even_into_a_pipe_that_is_slowly_read() -> None:
    text = "a line with \u20ac\n" * 20_000
    reading, writing = os.pipe()
    read: list[bytes] = []

    def reader() -> None:
        with os.fdopen(reading, "rb") as pipe:
            read.append(pipe.read())

    thread = threading.Thread(target=reader)
    thread.start()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        assert said(stream, text)
    thread.join(30)
    assert read == [text.encode()]


def test_what_an_encoding_lacks_is_spelled_out() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="ascii") as stream:
        assert said(stream, "1 \u20ac\n")
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"1 \\u20ac\n"


def test_nothing_stays_in_a_stream_whose_reader_has_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        assert not said(stream, "nobody hears\n")
        stream.reconfigure(errors="backslashreplace")  # raises if there is something to write


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["closed", "no file"])
def test_without_a_file_nobody_was_told(stream: io.StringIO | None) -> None:
    assert not said(stream, "text")
