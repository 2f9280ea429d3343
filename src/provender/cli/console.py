"""Console: everything that a command says. Results on stdout, the rest on stderr; text or JSON; never raw bytes.

Settings come from the environment first, then from a command's own options.
"""

from __future__ import annotations

import json
import os
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from provender.errors import ProvenderError

if TYPE_CHECKING:
    from provender.transfer.progress import Progress

__all__ = ["STDOUT", "Console", "clean", "counted", "human_bytes"]

STDOUT = "standard output"
"""The name of the file in an OSError that came of writing there."""

_CI_VARIABLES = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "TF_BUILD")
_DRIVING = frozenset({"Cc", "Cf", "Cs", "Co"})
_COLORS = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2", "cyan": "36"}


class _Display(Protocol):
    def stop(self) -> None: ...


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, STDOUT) from None


def clean(text: str) -> str:
    """`text` without control and bidirectional characters: what came from outside cannot drive the terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\t\n" or unicodedata.category(c) not in _DRIVING else "�" for c in text)


def _as_json(value: object, *, indent: int | None = None) -> str:
    """`value` as JSON with all its characters, of which those that could drive a terminal are spelled out."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isascii():  # control characters of ASCII but DEL are spelled out by any JSON writer
        return text.replace("\x7f", "\\u007f")
    return "".join(c if c == "\n" or unicodedata.category(c) not in _DRIVING else json.dumps(c)[1:-1] for c in text)


def human_bytes(size: int) -> str:
    """`size` for people, in binary units."""
    if size < 1024:
        return f"{size} B"
    value, units = size / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}" if value < 100 else f"{value:.0f} {units[0]}"


def counted(count: int, singular: str, plural: str) -> str:
    """`count` with the word that fits it."""
    return f"{count} {singular if count == 1 else plural}"


class Console:
    """Where a command writes. One per process, made at the edge and handed down as click's `ctx.obj`."""

    def __init__(self, *, stdout: TextIO, stderr: TextIO, environment: Mapping[str, str]) -> None:
        self._out = stdout
        self._err = stderr
        self._environment = environment
        self._display: _Display | None = None
        self._shown_since: float | None = None
        self._notes: set[str] = set()
        self.format: Literal["text", "json"] = "text"
        self.quiet = 0
        self.verbose = 0
        self.debug = False
        self.progress_wanted = True
        self.color: Literal["auto", "always", "never"] = "auto"
        self.subject: str | None = None
        """What the command is about: the place of an error that knows no better one."""
        self.directory: str | None = None
        """Where the command writes: the place of a failure of the system that names no file."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Console:
        """The console of this process."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        return cls(stdout=sys.stdout, stderr=sys.stderr, environment=environment)

    @property
    def is_json(self) -> bool:
        return self.format == "json"

    @property
    def in_ci(self) -> bool:
        """True where a bar would fill a log: a build service said so."""
        return any(self._environment.get(name, "") not in ("", "0", "false") for name in _CI_VARIABLES)

    def has_color(self, stream: TextIO) -> bool:
        """Whether to colour on `stream`: --color, NO_COLOR, FORCE_COLOR, TERM=dumb, and whether it is a terminal."""
        if self.color != "auto":
            return self.color == "always"
        if self._environment.get("NO_COLOR"):
            return False
        if self._environment.get("FORCE_COLOR") or self._environment.get("CLICOLOR_FORCE"):
            return True
        return stream.isatty() and self._environment.get("TERM") != "dumb"

    def paint(self, text: str, color: str, *, stream: TextIO | None = None) -> str:
        """`text` in `color`, where `stream` (stdout unless given) takes colours."""
        if not self.has_color(stream or self._out):
            return text
        return f"\x1b[{_COLORS[color]}m{text}\x1b[0m"

    def flush(self) -> None:
        """Send off what was said on stdout; an OSError names STDOUT, for no file on a disk is to blame."""
        with _told():
            self._out.flush()

    def result(self, text: str) -> None:
        """One line or block of the command's result."""
        with _told():
            self._out.write(f"{text}\n")

    def raw(self, content: bytes) -> None:
        """Exact bytes on stdout (a manifest)."""
        self.flush()
        self._write_bytes(content)

    def help(self, text: str) -> None:
        """The help of a command that was not asked for it: on stderr, for it is no result."""
        self._say(text)

    def document(self, kind: str, fields: Mapping[str, object]) -> None:
        """The one JSON document of a command in JSON mode, with its `kind` and the version of its shape."""
        with _told():
            self._out.write(_as_json({"kind": kind, "version": 1, **fields}, indent=2) + "\n")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Left-aligned columns; the header only on a terminal's sight, always printed for steady parsing."""
        cells = [[clean(cell) for cell in row] for row in rows]
        widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
        for number, row in enumerate([list(header), *cells]):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self.result(self.paint(line, "bold") if number == 0 else line)

    def note(self, text: str, *, level: int = 0) -> None:
        """A remark on stderr; `level` 1 needs -v, and -q silences all."""
        if self.quiet == 0 and self.verbose >= level:
            self._say(clean(text))

    def warning(self, text: str) -> None:
        """A warning on stderr, each text once per process; -qq silences it."""
        if self.quiet < 2 and text not in self._notes:
            self._notes.add(text)
            self._say(f"{self.paint('warning', 'yellow', stream=self._err)}: {clean(text)}")

    def trace(self, text: str) -> None:
        """A line of --debug."""
        if self.debug:
            self._say(clean(text))

    def error(self, error: ProvenderError) -> None:
        """An error of ours: what, where, how to fix it; in JSON mode as one JSON object."""
        self.failure(
            error.message,
            code=error.code,
            exit_status=error.exit_status,
            where=error.where,
            hint=error.hint,
            retryable=error.retryable,
        )

    def failure(
        self,
        message: str,
        *,
        code: str,
        exit_status: int = 1,
        where: str | None = None,
        hint: str | None = None,
        retryable: bool = False,
    ) -> None:
        """Any failure, rendered in at most three parts."""
        if self.is_json:
            fields = {"code": code, "exit": exit_status, "retryable": retryable, "message": clean(message)}
            fields |= {"where": where and clean(where), "hint": hint and clean(hint)}
            self._say(_as_json({"error": fields}))
            return
        self._say(f"{self.paint('error', 'red', stream=self._err)}: {clean(message)}")
        if where:
            self._say(f"  {self.paint('at', 'dim', stream=self._err)} {clean(where)}")
        if hint:
            self._say(f"  {self.paint('fix', 'dim', stream=self._err)} {clean(hint)}")

    def progress(self) -> Progress:
        """Where a long operation reports: bars on a terminal, lines in a log, nothing when quiet."""
        from provender.cli.progress import BarProgress, LineProgress
        from provender.transfer.progress import NoProgress

        if self.quiet or not self.progress_wanted or self.is_json or self.debug:
            return NoProgress()
        if self._err.isatty() and not self.in_ci and self._environment.get("TERM") != "dumb":
            display = BarProgress(self._err, clean)
            self._display = display
            self._shown_since = time.monotonic()
            return display
        return LineProgress(self.note) if self.in_ci else NoProgress()

    @property
    def shown_for_s(self) -> float | None:
        """How long ago the bars were begun; None if there were none: only who watched is told how long it took."""
        return None if self._shown_since is None else time.monotonic() - self._shown_since

    def stop_progress(self) -> None:
        """Take the bars away; harmless without any."""
        if self._display is not None:
            self._display.stop()
            self._display = None

    def _say(self, text: str) -> None:
        with suppress(OSError):  # nobody reads; what becomes of the command is not for this line to decide
            self._out.flush()
        with suppress(OSError):
            self._err.write(f"{text}\n")
            self._err.flush()

    def _write_bytes(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(self._out.fileno(), view) :]
