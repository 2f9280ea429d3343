"""The console: what reaches the terminal, in which form, and when in colour."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provender.cli.console import Console, clean, human_bytes
from provender.errors import NotFound


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def console(
    environment: dict[str, str] | None = None, *, terminal: bool = False
) -> tuple[Console, io.StringIO, io.StringIO]:
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    return Console(stdout=out, stderr=err, environment=environment or {}), out, err


@given(st.text())
def test_nothing_printed_can_drive_the_terminal(text: str) -> None:
    assert not set(clean(text)) & {"\x1b", "\x07", "\x08", "\r", "\x7f", "\x9b", "\u202e", "\u2066"}


def test_an_error_says_what_where_and_how_to_fix_it() -> None:
    one, out, err = console()
    one.error(NotFound("no \x1b[31mtag", where="acme/a:1", hint="look at the tags"))
    assert err.getvalue() == "error: no �[31mtag\n  at acme/a:1\n  fix look at the tags\n"
    assert out.getvalue() == ""


def test_in_json_mode_an_error_is_json_on_stderr() -> None:
    one, _, err = console()
    one.format = "json"
    one.error(NotFound("gone", code="no-tag", where="w", hint="h"))
    assert json.loads(err.getvalue())["error"] == {
        "code": "no-tag",
        "exit": 66,
        "retryable": False,
        "message": "gone",
        "where": "w",
        "hint": "h",
    }


@pytest.mark.parametrize(
    ("environment", "terminal", "option", "coloured"),
    [
        ({}, True, "auto", True),
        ({}, False, "auto", False),
        ({"NO_COLOR": "1"}, True, "auto", False),
        ({"NO_COLOR": ""}, True, "auto", True),
        ({"TERM": "dumb"}, True, "auto", False),
        ({"FORCE_COLOR": "1"}, False, "auto", True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, "auto", False),
        ({"NO_COLOR": "1"}, False, "always", True),
        ({}, True, "never", False),
    ],
)
def test_when_output_is_coloured(environment: dict[str, str], terminal: bool, option: str, coloured: bool) -> None:
    one, _, _ = console(environment, terminal=terminal)
    one.color = option  # type: ignore[assignment]  # the parameter's values are the literal's
    assert (one.paint("x", "red") != "x") is coloured


def test_a_warning_is_shown_once_and_quiet_silences_notes_first() -> None:
    one, _, err = console()
    one.warning("old")
    one.warning("old")
    one.quiet = 1
    one.note("remark")
    one.warning("new")
    assert err.getvalue() == "warning: old\nwarning: new\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (150 << 20, "150 MiB"),
        (5 << 40, "5.0 TiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert human_bytes(size) == text


def shown(names: list[tuple[str, int]]) -> str:
    """What a terminal gets while these items are in transfer, one after the other."""
    one, _, err = console(terminal=True)
    progress = one.progress()
    for name, size in names:
        task = progress.start(name, size)
        progress.advance(task, size)
        progress.done(task)
    one.stop_progress()
    return err.getvalue()


def test_small_ones_share_a_bar() -> None:
    text = shown([*((f"small-{number}", 10_000) for number in range(50)), ("large", 1 << 20)])
    assert "small-" not in text
    assert "small ones, 50 done" in text


def test_a_name_cannot_drive_the_terminal_from_its_bar() -> None:
    one, _, err = console(terminal=True)
    progress = one.progress()
    task = progress.start("a\x1b]0;title\x07b", 1 << 20)
    progress.advance(task, 10)
    one.stop_progress()
    assert "title" in err.getvalue()
    assert "\x1b]" not in err.getvalue()
