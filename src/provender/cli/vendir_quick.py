"""`vendir sync --locked` where nothing changed: answered before the command line, the models or YAML are imported.

The index that the last such run left (`dialects.vendir.standing`) holds what that one printed.
"""

from __future__ import annotations

import os
import sys

from provender.cli.saying import said
from provender.project.stat_index import unchanged_note

__all__ = ["INDEX_FILE", "is_vendir_sync_done", "note_start"]

INDEX_FILE = "vendir.index"
_INTERRUPTED = 130


def note_start(arguments: list[str]) -> bytes:
    """What the index's note begins with: all that decides what a run prints, beside the files."""
    umask = os.umask(0o022)
    os.umask(umask)
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    # A name with a zero cannot come from a command line.
    given = "".join(f"{each}\0" for each in arguments).encode("utf-8", "surrogateescape")
    return f"{umask:o} {int(is_terminal)} {len(arguments)} ".encode() + given


def is_vendir_sync_done(arguments: list[str]) -> bool:
    """True if the run with these arguments (`sync` first) had nothing to do, and that was said; else nothing was."""
    # Click takes options from variables as well.
    if (
        arguments[:1] != ["sync"]
        or sys.stdout is None
        or any(name.startswith("PROVENDER_VENDIR_") for name in os.environ)
    ):
        return False
    try:
        note = unchanged_note("", INDEX_FILE, start=note_start(arguments))
        return note is not None and said(sys.stdout, note.decode("utf-8", "surrogateescape"))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
